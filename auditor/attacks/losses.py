"""Which classes to aim at, and how losses compare."""

from typing import Any

from auditor.classifier import Array


def runners_up(xp: Any, logits: Array, y: Array, count: int) -> Array:
    """The `count` classes with the largest scores beside the label, best first. (n, classes) -> (n, count) int64"""
    own = xp.arange(logits.shape[1])[None, :] == y[:, None]
    # The label goes last even where other scores are not finite: a target that equals the label has no gradient.
    scores = xp.where(own, -xp.inf, xp.where(xp.isfinite(logits), logits, xp.finfo(xp.float32).min))
    return xp.argsort(-scores, axis=1, stable=True)[:, :count].astype(xp.int64)


def ascent(xp: Any, loss: Array) -> Array:
    """A loss to compare by: one that is not finite is worse than any other."""
    return xp.where(xp.isfinite(loss), loss, -xp.inf)
