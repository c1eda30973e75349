"""Cheap checks before any attack: is the gradient that was compiled the gradient of the scores, and is there one?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor import runtime
from auditor.attacks.random import Random
from auditor.classifier import Classifier
from auditor.spec import Loss

# Central differences in float32 carry rounding noise and cross kinks; a wrong rule is off by far more than this.
_TOLERANCE = 0.1
_STEPS = (1e-2, 3e-3, 1e-3, 3e-4)
# Where these say no or nothing: among features of many units some live in a small part of the domain.
_FINER = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6)


@dataclass(frozen=True)
class GradientCheck:
    """error: median over the compared examples of the relative difference between <g, v> and the central difference
    along v, best of several steps; None where nothing could be compared. compared: examples whose slope can be told
    from rounding and, where they disagree, whose differences have settled; nonzero: share of gradient entries that are not zero; finite: whether all are finite."""

    error: float | None
    nonzero: float
    finite: bool
    compared: int

    @property
    def agrees(self) -> bool:
        """Nothing speaks against the gradient; where nothing was compared, nothing speaks for it either."""
        return self.finite and (self.error is None or self.error <= _TOLERANCE)


def check_gradient(classifier: Classifier, x: np.ndarray, y: np.ndarray, *, seed: int, width: float) -> GradientCheck:
    """Compare the gradient of the margin with differences along half gradient, half random directions.

    x: (n, *shape), y: (n,). A direction along the gradient alone would hide a missing part of it, a random one alone
    would drown in rounding.
    """
    xp, n = classifier.xp, len(x)
    inputs, labels = xp.asarray(x), xp.asarray(y)
    evaluation = classifier.gradient(inputs, labels, Loss.MARGIN)
    g = runtime.to_host(evaluation.g).astype(np.float64).reshape(n, -1)
    if not np.isfinite(g).all():
        return GradientCheck(None, float(np.mean(g != 0)), finite=False, compared=0)
    noise = Random.keyed(np, seed, "gradient check", np.arange(n)).normal(0, (g.shape[1],)).astype(np.float64)
    direction = _unit(g) + _unit(noise)
    found = _compared(classifier, x, labels, g, direction, [step * width for step in _STEPS])
    if not len(found) or np.median(found) > _TOLERANCE:
        found = _compared(classifier, x, labels, g, direction, [step * width for step in (*_STEPS, *_FINER)])
    error = float(np.median(found)) if len(found) else None
    return GradientCheck(error, float(np.mean(g != 0)), finite=True, compared=len(found))


def _compared(
    classifier: Classifier, x: np.ndarray, y: object, g: np.ndarray, direction: np.ndarray, steps: Sequence[float]
) -> np.ndarray:
    """The relative error, best of the steps, of each example that can be compared. g, direction: (n, d) float64."""
    measured = [_difference(classifier, x, y, g, direction, step) for step in steps]
    differences, slopes, roundings = (np.array(column) for column in zip(*measured, strict=True))
    # Where the gradient vanishes there is no slope to compare, even if a cliff is near: the diagnosis tells that.
    known = np.abs(slopes) > 10 * roundings
    best = np.min(np.where(known, _relative(differences, slopes), np.inf), axis=0)
    # Differences that still move with the step are no slope yet: a steep curve is not a wrong gradient.
    settled = known[1:] & known[:-1] & (_relative(differences[1:], differences[:-1]) <= _TOLERANCE)
    return best[np.isfinite(best) & ((best <= _TOLERANCE) | settled.any(axis=0))]


def _difference(
    classifier: Classifier, x: np.ndarray, y: object, g: np.ndarray, direction: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row the central difference of the margin along its direction, the slope that the gradient promises along the
    step as float32 has it, and what rounding alone makes of the difference."""
    xp = classifier.xp
    points, losses, sizes = [], [], []
    for sign in (1.0, -1.0):
        points.append((x + sign * step * direction.reshape(x.shape)).astype(np.float32))
        evaluation = classifier.gradient(xp.asarray(points[-1]), y, Loss.MARGIN)
        losses.append(runtime.to_host(evaluation.loss).astype(np.float64))
        sizes.append(np.abs(runtime.to_host(evaluation.logits).astype(np.float64)).max(axis=1))
    taken = (points[0].astype(np.float64) - points[1]).reshape(g.shape)
    slope = np.sum(g * taken, axis=1) / (2 * step)
    return (losses[0] - losses[1]) / (2 * step), slope, 1e-6 * sizes[0] / step


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| as a share of the larger of both."""
    return np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-300)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
