"""Carlini and Wagner: descent on distance and missing margin together.

Carlini & Wagner 2017, "Towards evaluating the robustness of neural networks", section VI.A (L2) and VI.C (Linf, where
only what exceeds a falling threshold is charged). Of the paper's three ways to stay in the domain this takes the first,
projection: it starts at x itself, where the change of variables starves at the ends of the domain. Steps are measured
by the step onto the linearised boundary and fall along a cosine, so that few are needed.
"""

from collections.abc import Callable
from functools import partial
from math import cos, pi
from typing import Any

from auditor.attacks.adam import Adam
from auditor.attacks.attempt import Attempt, Nearest, clearance
from auditor.attacks.hyperplane import Plane, shortest_step
from auditor.attacks.norms import dual_length, length, linear_distance, per_row
from auditor.attacks.random import Random
from auditor.attacks.weight import Weight
from auditor.classifier import Array, Classifier, Evaluation
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm


def cw(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L2",
    rng: Random | None = None,
    active: Array | None = None,
    searches: int = 6,
    steps: int = 100,
    step_size: float = 0.2,
    confidence: float = 0.0,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    searches: weights that are tried, each for `steps` steps of Adam from x (the paper: 9 and 10,000); step_size: the
    first step of a feature, in the largest change of one on the way to the linearised boundary; confidence: the
    margin in logits that counts as broken. Nothing here is random; `rng` is taken as by every attack. One forward and
    one backward for x and for each step. Gives the nearest broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    descent = _Descent(classifier, x, y, "L2", ceiling, active, confidence)
    slope, distance = descent.slope, descent.distance
    weight = Weight(xp, 2.0 * distance / slope)  # at which descent on the linearised margin just reaches the boundary
    for _ in range(searches):
        weight.update(descent.run(x, weight.value, lambda delta: 2 * delta, steps, step_size))
    return descent.best.attempt(nearer_than=ceiling)


def cw_linf(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "Linf",
    rng: Random | None = None,
    active: Array | None = None,
    searches: int = 12,
    steps: int = 50,
    step_size: float = 0.1,
    confidence: float = 0.0,
) -> Attempt:
    """Arguments and result as those of `cw`. Each search charges what exceeds a threshold: a tenth below the nearest
    find and on from there after a success, the same with twice the weight on breaking the example after a failure."""
    xp = classifier.xp
    descent = _Descent(classifier, x, y, "Linf", ceiling, active, confidence)
    best = descent.best
    threshold = xp.minimum(descent.distance, best.distance)
    weight = x[0, ...].size / descent.slope
    for _ in range(searches):
        limit = per_row(threshold, x).astype(xp.float32)
        start = xp.where(per_row(best.found, x), best.x_adv, x)
        broken = descent.run(start, weight, partial(_beyond, xp, limit), steps, step_size)
        threshold = xp.where(broken, 0.9 * best.distance, threshold)
        weight = xp.where(broken, weight, 2 * weight)
    return best.attempt(nearer_than=ceiling)


def _beyond(xp: Any, limit: Array, delta: Array) -> Array:
    return xp.sign(delta) * (xp.abs(delta) > limit)


class _Descent:
    """Adam on charge + weight * f, where f is the margin that is missing, and where its finds go."""

    def __init__(
        self,
        classifier: Classifier,
        x: Array,
        y: Array,
        norm: Norm,
        ceiling: Array,
        active: Array | None,
        confidence: float,
    ) -> None:
        xp = classifier.xp
        self.classifier, self.confidence = classifier, confidence
        self.active = xp.ones(x.shape[0], dtype=bool) if active is None else active
        self.best = Nearest(classifier, x, y, norm, ceiling)
        at_x = classifier.gradient(x, y, Loss.MARGIN, active=self.active)
        self._see(x, at_x)
        plane = Plane.finite(xp, at_x.loss - xp.float32(confidence), at_x.g)
        slope = dual_length(xp, plane.g, norm)
        self.slope, self.distance = xp.where(slope > 0, slope, 1.0), linear_distance(xp, plane.gap, plane.g, norm)
        first = shortest_step(xp, x, plane.g, -plane.gap, norm, classifier.domain)
        self.reach = per_row(length(xp, first, "Linf"), x).astype(xp.float32)

    def _see(self, x_adv: Array, here: Evaluation) -> tuple[Array, Array]:
        """Which rows are broken, and which have all the margin that is wanted."""
        xp = self.classifier.xp
        enough = here.loss > xp.maximum(clearance(xp, here.logits), xp.float32(self.confidence))
        counted = self.active & enough if self.confidence else self.active
        return self.best.see(x_adv, here.logits, counted), enough

    def run(
        self, start: Array, weight: Array, charge: Callable[[Array], Array], steps: int, step_size: float
    ) -> Array:
        """`steps` steps from `start`; charge: the gradient of what a perturbation costs. Gives the rows broken."""
        classifier, xp, best = self.classifier, self.classifier.xp, self.best
        x_adv, adam = start, Adam(xp, start)
        pull = per_row(weight, start).astype(xp.float32)
        broken = xp.zeros_like(self.active)
        for k in range(steps):
            active = self.active & (best.distance > 0)
            if not xp.any(active):
                break
            here = classifier.gradient(x_adv, best.y, Loss.MARGIN, active=active)
            found, enough = self._see(x_adv, here)
            broken = broken | found
            missing = xp.where(per_row(enough, start), xp.float32(0), pull * here.g)
            rate = xp.float32(step_size * (0.01 + 0.99 * (1 + cos(pi * k / steps)) / 2))
            x_next = x_adv - rate * self.reach * adam.direction(charge(x_adv - best.x) - missing)
            x_adv = xp.clip(x_next, *bounds(classifier.domain))
        return broken
