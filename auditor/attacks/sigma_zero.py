"""Sigma-zero: as few features as possible, by descent on a smooth stand-in for their number and a moving threshold.

Cina et al. 2025, "Sigma-zero: gradient-based optimization of l0-norm adversarial examples", algorithm 1. Features are
measured in widths of the domain; where there is none, in the largest change that one alone needs by the linearised
margin.
"""

from math import cos, pi

from auditor.attacks.adam import Adam
from auditor.attacks.attempt import Attempt, Nearest, clearance
from auditor.attacks.norms import linear_distance, per_row, unit
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Loss, Norm


def sigma_zero(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L0",
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 200,
    step_size: float = 1.0,
    sigma: float = 1e-3,
    threshold: float = 0.3,
    adjustment: float = 0.01,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 features, inf where none is known.

    step_size: the first step, falling to a tenth; sigma: how smooth the stand-in u^2 / (u^2 + sigma) is; threshold:
    what a change must reach to be kept, at first; adjustment: by how much the threshold rises after a success and
    falls after a failure, as a share of the step. Nothing here is random; `rng` is taken as by every attack. One
    forward and one backward for each of steps + 1 points. Gives the safely broken point with the fewest changed
    features, each channel of a pixel being one, if they are fewer than the ceiling.
    """
    xp, d = classifier.xp, x[0, ...].size
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    lower, upper = bounds(classifier.domain)
    best = Nearest(classifier, x, y, "L0", ceiling)
    here = classifier.gradient(x, y, Loss.MARGIN, active=active)
    broken = best.see(x, here.logits, active)
    alone = linear_distance(xp, here.loss, here.g, "L1")
    scale = per_row(alone.astype(xp.float32), x) if classifier.domain is None else upper - lower
    adam, change = Adam(xp, x), xp.zeros_like(x)
    least = xp.full(x.shape[0], threshold)
    for k in range(steps):
        active = active & (best.distance > 0)
        if not xp.any(active):
            break
        missing = per_row(here.loss <= clearance(xp, here.logits), x)
        smooth = 2 * sigma * change / (change * change + sigma) ** 2 / d
        g = smooth - xp.where(missing, scale * here.g, xp.float32(0))
        step = step_size * (0.1 + 0.9 * (1 + cos(pi * k / steps)) / 2)
        change = change - xp.float32(step) * adam.direction(unit(xp, g, "Linf"))
        change = (xp.clip(x + scale * change, lower, upper) - x) / scale
        least = xp.clip(least + xp.where(broken, adjustment, -adjustment) * step, 0.0, 1.0)
        change = xp.where(xp.abs(change) < per_row(least, x), xp.float32(0), change)
        x_adv = xp.clip(x + scale * change, lower, upper)
        here = classifier.gradient(x_adv, y, Loss.MARGIN, active=active)
        broken = best.see(x_adv, here.logits, active)
    return best.attempt(nearer_than=ceiling)
