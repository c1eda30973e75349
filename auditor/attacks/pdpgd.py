"""Primal-dual proximal descent: the margin by gradient, the distance by its proximal operator, their weight by ascent.

Matyasko & Chau 2021, "PDPGD: primal-dual proximal gradient descent adversarial attack", algorithm 1, with the proximal
form of Adam that its authors use (Yun et al. 2021, "Adaptive proximal gradient methods for structured neural
networks", algorithm 2). Steps and weight are measured by the step onto the linearised boundary, so that they fit
inputs of any scale.
"""

from collections.abc import Callable
from math import log
from typing import Any

from auditor.attacks.adam import Adam
from auditor.attacks.attempt import Attempt, Nearest, clearance
from auditor.attacks.hyperplane import Plane, shortest_step
from auditor.attacks.norms import Ball, dual_length, length, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm

INNER = 5  # proximal steps in Adam's metric
RATIO = 0.01  # first weight of the distance beside that of the margin
LARGEST = -log(1e-6)  # of the logarithm of their ratio, either way
MEMORY = 0.9  # of the average over the weights


def pdpgd(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    ceiling: Array,
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 200,
    step_size: float = 0.5,
    dual_step: float = 0.1,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    step_size: the first step of a feature, in the largest change of one on the way to the linearised boundary, falling
    to a hundredth; dual_step: of the logarithm of the weight, falling to a tenth. Nothing here is random; `rng` is
    taken as by every attack. One forward and one backward for each of steps + 1 points. Gives the nearest safely
    broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    best = Nearest(classifier, x, y, norm, ceiling)
    here = classifier.gradient(x, y, Loss.MARGIN, active=active)
    best.see(x, here.logits, active)
    plane = Plane.finite(xp, here.loss, here.g)
    reach = length(xp, shortest_step(xp, x, plane.g, -plane.gap, norm, classifier.domain), "Linf")
    slope = dual_length(xp, plane.g, norm)
    lower, upper = bounds(classifier.domain)
    adam, delta = Adam(xp, x), xp.zeros_like(x)
    dual = xp.full(x.shape[0], -log(RATIO))
    share = 1 / (1 + xp.exp(dual))  # of the distance in the weights, which add up to 1
    for k in range(steps):
        active = active & (best.distance > 0)
        if not xp.any(active):
            break
        missing = clearance(xp, here.logits) - here.loss
        outside = missing > 0
        g = -per_row(xp.where(outside, 1 / (1 + xp.exp(-xp.abs(missing))), xp.float32(0)), x) * here.g
        step = per_row(step_size * 0.01 ** (k / steps) * reach, x).astype(xp.float32)
        delta = xp.clip(x + (delta - step * adam.direction(g)), lower, upper) - x
        widest = xp.max(adam.scale.reshape((x.shape[0], -1)), axis=1)
        by = share / (1 - share) * slope * step.reshape(-1) / widest
        metric = adam.scale / per_row(widest, x)
        delta = _proximal(xp, delta, by, metric, norm, lambda z: xp.clip(x + z, lower, upper) - x)
        x_adv = xp.clip(x + delta, lower, upper)
        here = classifier.gradient(x_adv, y, Loss.MARGIN, active=active)
        best.see(x_adv, here.logits, active)
        rate = dual_step * (1 - 0.9 * k / steps)
        dual = xp.clip(dual + xp.where(here.loss > clearance(xp, here.logits), -rate, rate), -LARGEST, LARGEST)
        share = MEMORY * share + (1 - MEMORY) / (1 + xp.exp(dual))
    return best.attempt(nearer_than=ceiling)


def _proximal(xp: Any, point: Array, by: Array, metric: Array, norm: Norm, inside: Callable[[Array], Array]) -> Array:
    """argmin over z of by * |z| + |z - point|^2 / 2 in the metric, whose largest entry is 1; by: (n,)."""
    z = point
    for _ in range(INNER):
        z = inside(_shrink(xp, z + metric * (point - z), by, norm))
    return z


def _shrink(xp: Any, z: Array, by: Array, norm: Norm) -> Array:
    """The proximal operator of `by` (n,) times the norm."""
    if norm == "L1":
        return xp.sign(z) * xp.maximum(xp.abs(z) - per_row(by, z).astype(xp.float32), xp.float32(0))
    if norm == "L2":
        size = length(xp, z, norm)
        kept = xp.maximum(1 - by / xp.where(size > 0, size, 1.0), xp.zeros_like(size))
        return z * per_row(kept, z).astype(xp.float32)
    return z - Ball(xp, xp.zeros_like(z), by, "L1", None, inward=False).project(z)
