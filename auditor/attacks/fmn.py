"""Fast minimum-norm: one ascent, whose ball grows until the example is broken and shrinks as soon as it is.

Pintor et al. 2021, "Fast minimum-norm adversarial attacks through adaptive norm constraints", algorithm 1. Steps are
measured by the first step onto the linearised boundary and not in units of [0, 1], so that they fit inputs of any
scale.
"""

from math import cos, pi

from auditor.attacks.attempt import Attempt, Nearest
from auditor.attacks.hyperplane import Plane, shortest_step
from auditor.attacks.norms import Ball, distance, length, linear_distance, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def fmn(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    ceiling: Array,
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 100,
    step_size: float = 4.0,
    gamma: float = 0.1,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    step_size: the first step, in Euclidean lengths of the step onto the boundary as it looks from x; gamma: the share
    by which the ball shrinks after a success and grows after a failure, at first. Both fall along a cosine. In L0 the
    radius is a number of features, and changes by one at least. Nothing here is random; `rng` is taken as by every
    attack. One forward and one backward for each of steps + 1 points. Gives the nearest safely broken point that is
    nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    best = Nearest(classifier, x, y, norm, ceiling)
    here = classifier.gradient(x, y, Loss.MARGIN, active=active)
    best.see(x, here.logits, active)
    convex: Norm = "L1" if norm == "L0" else norm  # in which the way to the boundary is measured
    plane = Plane.finite(xp, here.loss, here.g)
    first = length(xp, shortest_step(xp, x, plane.g, -plane.gap, convex, classifier.domain), "L2")
    guess = linear_distance(xp, here.loss, here.g, convex)
    radius = xp.minimum(xp.ones_like(guess) if norm == "L0" else guess, best.distance)
    ball = Ball(xp, x, radius, norm, classifier.domain, inward=False)
    x_adv = x
    for k in range(steps):
        active = active & (best.distance > 0)
        if not xp.any(active):
            break
        fallen = (1 + cos(pi * k / steps)) / 2
        alpha = per_row(step_size * (0.01 + 0.99 * fallen) * first, x).astype(xp.float32)
        x_adv = ball.resized(radius).project(x_adv + alpha * steepest(xp, here.g, "L2"))
        here = classifier.gradient(x_adv, y, Loss.MARGIN, active=active)
        broken = best.see(x_adv, here.logits, active)
        rate = gamma * (0.02 + 0.98 * fallen)
        factor = xp.where(broken, 1 - rate, 1 + rate)
        if norm == "L0":  # a feature fewer or more at least
            scaled = xp.floor(radius * factor)
            radius = xp.where(broken, xp.minimum(radius - 1, scaled), xp.maximum(radius + 1, scaled))
        else:
            ahead = distance(xp, x_adv, x, norm) + linear_distance(xp, here.loss, here.g, norm)
            radius = xp.where(broken | xp.isfinite(best.distance), radius, ahead) * factor
        radius = xp.minimum(radius, best.distance)
    return best.attempt(nearer_than=ceiling)
