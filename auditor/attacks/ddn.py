"""Decoupled direction and norm: the nearest adversarial example in L2, by steps on a sphere that breathes.

Rony et al. 2019, "Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses",
algorithm 1. The first radius and step length come from the distance to the linearised decision boundary instead of
being 1, so that they fit inputs of any scale.
"""

import math

from auditor.attacks.attempt import Attempt, Nearest, margin
from auditor.attacks.norms import Ball, distance, dual_length, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def ddn(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L2",
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 100,
    gamma: float = 0.05,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    gamma: how much the radius shrinks after a success and grows after a failure. One forward and one backward for
    each of steps + 1 points. Gives the nearest safely broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    best = Nearest(classifier, x, y, "L2", ceiling)
    here = classifier.gradient(x, y, Loss.MARGIN, active=active)
    broken = best.see(x, here.logits, active)
    slope = dual_length(xp, xp.where(xp.isfinite(here.g), here.g, xp.float32(0)), "L2")
    gap = xp.abs(margin(xp, here.logits, y)).astype(xp.float64)
    known = active & (slope > 0) & xp.isfinite(gap)
    radius = xp.where(known, gap / xp.where(known, slope, 1.0), 1.0)
    radius = xp.minimum(2.0 * radius, xp.where(xp.isfinite(ceiling), ceiling, xp.inf))
    first_step = radius
    x_adv = x
    for k in range(steps):
        active = active & (best.distance > 0)
        if not xp.any(active):
            break
        here = classifier.gradient(x_adv, y, loss, target=target, active=active)
        broken = best.see(x_adv, here.logits, active)
        alpha = first_step * (0.01 + 0.99 * (1 + math.cos(math.pi * k / steps)) / 2)
        delta = x_adv + per_row(alpha, x).astype(xp.float32) * steepest(xp, here.g, "L2") - x
        if k:
            radius = radius * xp.where(broken, 1 - gamma, 1 + gamma)
        radius = xp.where(best.found, xp.minimum(radius, best.distance), radius)
        size = distance(xp, x + delta, x, "L2")
        scale = xp.where(size > 0, radius / xp.where(size > 0, size, 1.0), 0.0)
        ball = Ball(xp, x, radius, "L2", classifier.domain)
        x_adv = ball.project(x + delta * per_row(scale, delta).astype(xp.float32))
    active = active & (best.distance > 0)
    if xp.any(active):
        best.see(x_adv, classifier.logits(x_adv, active=active), active)
    return best.attempt(nearer_than=ceiling)
