"""What an attack gives back, and when it believes itself done."""

from dataclasses import dataclass

from auditor.classifier import Array

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


def margin(xp, logits: Array, y: Array) -> Array:
    """max_{k != y} z_k - z_y per row: positive exactly where the example is broken. (n, classes), (n,) -> (n,)"""
    own = xp.arange(logits.shape[1])[None, :] == y[:, None]
    best_other = xp.max(xp.where(own, -xp.inf, logits), axis=1)
    own_score = xp.sum(xp.where(own, logits, xp.zeros_like(logits)), axis=1)
    return best_other - own_score


def safely_broken(xp, logits: Array, y: Array) -> Array:
    """Where the margin clears SAFE_MARGIN of the row's range of scores; False where a score is not finite."""
    spread = xp.max(logits, axis=1) - xp.min(logits, axis=1)
    return (margin(xp, logits, y) > SAFE_MARGIN * spread) & xp.isfinite(spread)
