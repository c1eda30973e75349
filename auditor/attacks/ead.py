"""Elastic net: sparse perturbations, by gradient steps that are followed by shrinkage towards the example.

Chen et al. 2018, "EAD: elastic-net attacks to deep neural networks via adversarial examples", algorithm 1 (FISTA on
weight * f + |delta|_2^2 + beta |delta|_1, decision by the smallest L1). Steps and beta are measured by the step onto
the linearised boundary, so that they fit inputs of any scale.
"""

from math import sqrt

from auditor.attacks.attempt import Attempt, Nearest, clearance
from auditor.attacks.hyperplane import Plane, shortest_step
from auditor.attacks.norms import dual_length, length, per_row
from auditor.attacks.random import Random
from auditor.attacks.weight import Weight
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm


def ead(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L1",
    rng: Random | None = None,
    active: Array | None = None,
    searches: int = 6,
    steps: int = 100,
    step_size: float = 0.01,
    beta: float = 10.0,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    searches: weights that are tried, each for `steps` steps from x; step_size: of the gradient step on the elastic
    net, falling as a square root; beta: the weight of L1 against L2, in the largest change of a feature on the way to
    the linearised boundary. Nothing here is random; `rng` is taken as by every attack. One forward and one backward
    for x and for each step. Gives the nearest safely broken point that is nearer than the ceiling.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    best = Nearest(classifier, x, y, "L1", ceiling)
    at_x = classifier.gradient(x, y, Loss.MARGIN, active=active)
    best.see(x, at_x.logits, active)
    plane = Plane.finite(xp, at_x.loss, at_x.g)
    reach = length(xp, shortest_step(xp, x, plane.g, -plane.gap, "L1", classifier.domain), "Linf")
    toll = per_row(beta * reach, x).astype(xp.float32)
    slope = dual_length(xp, plane.g, "L1")
    weight = Weight(xp, (2 + beta) * reach / xp.where(slope > 0, slope, 1.0))
    for _ in range(searches):
        pull = per_row(weight.value, x).astype(xp.float32)
        broken = xp.zeros_like(active)
        x_adv = ahead = x
        for k in range(steps):
            alive = active & (best.distance > 0)
            if not xp.any(alive):
                break
            here = classifier.gradient(ahead, y, Loss.MARGIN, active=alive)
            broken = broken | best.see(ahead, here.logits, alive)
            missing = per_row((here.loss <= clearance(xp, here.logits)) & xp.isfinite(here.loss), x)
            rate = xp.float32(step_size * sqrt(1 - k / steps))
            g = 2 * (ahead - x) - xp.where(missing, pull * here.g, xp.float32(0))
            x_before, x_adv = x_adv, _shrunk(classifier, ahead - rate * g - x, rate * toll, x)
            ahead = xp.clip(x_adv + xp.float32(k / (k + 3)) * (x_adv - x_before), *bounds(classifier.domain))
        weight.update(broken)
    return best.attempt(nearer_than=ceiling)


def _shrunk(classifier: Classifier, delta: Array, by: Array, x: Array) -> Array:
    """The paper's S: every feature's change made smaller by a constant, inside the domain."""
    xp = classifier.xp
    smaller = xp.sign(delta) * xp.maximum(xp.abs(delta) - by, xp.float32(0))
    return xp.clip(x + smaller, *bounds(classifier.domain))
