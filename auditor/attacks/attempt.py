"""What an attack gives back, and when it believes itself done."""

from dataclasses import dataclass
from typing import Any

from auditor.attacks.norms import distance, per_row
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

# A find whose margin is below this share of the range of scores may turn correct again under another rounding
# (design: a fifth to a half of the points found by walking to the boundary do), so that minimal-norm attacks look
# for the nearest point that clears it.
SAFE_MARGIN = 1e-4


@dataclass(frozen=True)
class Attempt:
    """Each example's best point so far. Nothing here counts before `verify` has re-checked it on the upload.

    x_adv: (n, *shape) float32. For a minimal-norm attack the nearest point found, for a fixed-budget attack the one
        with the largest loss; the clean example where nothing was found.
    found: (n,) bool, whether the gradient graph's classifier gives another class at x_adv.
    loss: (n,) float32, the largest margin (max_{k != y} z_k - z_y) reached inside the budget; diagnosis reads it.
    """

    x_adv: Array
    found: Array
    loss: Array


def margin(xp: Any, logits: Array, y: Array) -> Array:
    """max_{k != y} z_k - z_y per row: positive exactly where the example is broken. (n, classes), (n,) -> (n,)"""
    own = xp.arange(logits.shape[1])[None, :] == y[:, None]
    best_other = xp.max(xp.where(own, -xp.inf, logits), axis=1)
    own_score = xp.sum(xp.where(own, logits, xp.zeros_like(logits)), axis=1)
    return best_other - own_score


def safely_broken(xp: Any, logits: Array, y: Array) -> Array:
    """Where the margin clears SAFE_MARGIN of the row's range of scores; False where a score is not finite."""
    spread = xp.max(logits, axis=1) - xp.min(logits, axis=1)
    return (margin(xp, logits, y) > SAFE_MARGIN * spread) & xp.isfinite(spread)


def clearance(xp: Any, logits: Array) -> Array:
    """The margin that attacks on the boundary aim at: twice the one that is safe. (n, classes) -> (n,)"""
    return 2 * SAFE_MARGIN * (xp.max(logits, axis=1) - xp.min(logits, axis=1))


class Strongest:
    """What a fixed-budget attack remembers: per row, the point with the largest margin among those it has shown."""

    def __init__(self, classifier: Classifier, x: Array, y: Array) -> None:
        self.xp, self.y = classifier.xp, y
        self.x_adv = x
        self.margin = self.xp.full(x.shape[0], -self.xp.inf, dtype=self.xp.float32)
        self.done = self.xp.zeros(x.shape[0], dtype=bool)

    def see(self, x_adv: Array, logits: Array, active: Array) -> None:
        """Rows become `done` when safely broken; scores that are not finite count for nothing."""
        xp = self.xp
        gap = margin(xp, logits, self.y)
        better = active & xp.all(xp.isfinite(logits), axis=1) & (gap > self.margin)
        self.margin = xp.where(better, gap, self.margin)
        self.x_adv = xp.where(per_row(better, x_adv), x_adv, self.x_adv)
        self.done = self.done | (better & safely_broken(xp, logits, self.y))

    def attempt(self, x: Array) -> Attempt:
        found = self.margin > 0
        x_adv = self.xp.where(per_row(found, x), self.x_adv, x)
        return Attempt(x_adv, found, self.margin)


class Nearest:
    """What a minimal-norm attack remembers: per row, the nearest safely broken point among those it has shown, or the
    nearest broken one whatever its margin where it is not `safe`.

    distance: (n,) float64, at first the ceiling: only nearer points are of interest.
    """

    def __init__(
        self, classifier: Classifier, x: Array, y: Array, norm: Norm, ceiling: Array, *, safe: bool = True
    ) -> None:
        self.xp, self.x, self.y, self.norm, self._safe = classifier.xp, x, y, norm, safe
        self.x_adv = x
        self.distance = self.xp.asarray(ceiling, dtype=self.xp.float64)
        self.margin = self.xp.full(x.shape[0], -self.xp.inf, dtype=self.xp.float32)
        self.found = self.xp.zeros(x.shape[0], dtype=bool)

    def see(self, x_adv: Array, logits: Array, active: Array) -> Array:
        """Gives the rows that are safely broken at x_adv, nearer than before or not. (n,) bool"""
        xp = self.xp
        gap = margin(xp, logits, self.y)
        finite = active & xp.all(xp.isfinite(logits), axis=1)
        broken = active & safely_broken(xp, logits, self.y) if self._safe else finite & (gap > 0)
        self.margin = xp.where(finite, xp.maximum(self.margin, gap), self.margin)
        if not xp.any(broken):
            return broken
        apart = distance(xp, x_adv, self.x, self.norm)
        nearer = broken & (apart < self.distance)
        self.distance = xp.where(nearer, apart, self.distance)
        self.x_adv = xp.where(per_row(nearer, x_adv), x_adv, self.x_adv)
        self.found = self.found | nearer
        return broken

    def attempt(self, *, nearer_than: Array) -> Attempt:
        found = self.found & (self.distance < self.xp.asarray(nearer_than))
        return Attempt(self.xp.where(per_row(found, self.x), self.x_adv, self.x), found, self.margin)
