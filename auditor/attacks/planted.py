"""Adversarial examples that are known to exist, because they were planted.

Zimmermann, Brendel, Tramer & Carlini 2022, "Increasing confidence in adversarial robustness evaluations": around one
example, the last layer is replaced by a binary read-out of the same features that calls random points inside the ball
"the same" and one point on its surface "another". An attack that follows the network's features well must find a point
like that one; what share of such problems it solves says how far its failures on the network itself can be trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from auditor import runtime
from auditor.attacks.norms import Ball
from auditor.attacks.random import Random
from auditor.attacks.verify import Verdict
from auditor.autodiff.losses import available
from auditor.classifier import Array, Classifier, Evaluation
from auditor.spec import Loss, Norm

INNER = 255  # points inside the ball, the example among them, that a read-out calls the same
_INSIDE = 0.95  # of the radius, as far as those reach
_CLOSE = 0.999  # how near the planted point lies to the read-out's boundary, seen from the inner ones
_LEVELS = 4096  # weights are whole shares of the largest, so that no rounding of the solver shows in a result
_NUMBERS = 2**27  # features held at a time


@dataclass(frozen=True)
class Readouts:
    """One binary read-out per example: weights (features, n), offsets (n,), float32; `points` (n, *shape) float32 are those
    planted; separable: (n,) bool, whether some read-out tells the planted point from the inner ones."""

    weights: np.ndarray
    offsets: np.ndarray
    points: np.ndarray
    separable: np.ndarray


def plant(features: Classifier, x: np.ndarray, *, eps: float, norm: Norm, width: float, rng: Random) -> Readouts:
    """features: gives features for scores; x: (n, *shape) float32; eps: in input units; width: of the domain.
    INNER + 1 forwards per example."""
    size = max(_NUMBERS // ((INNER + 1) * features.classes), 1)
    parts = [
        _plant(features, x[rows], eps, norm, width, replace(rng, examples=rng.examples[rows]))
        for rows in (slice(start, start + size) for start in range(0, len(x), size))
    ]
    weights, offsets, points, separable = zip(*parts, strict=True)
    return Readouts(np.concatenate(weights, 1), *(np.concatenate(part) for part in (offsets, points, separable)))


def _plant(
    features: Classifier, x: np.ndarray, eps: float, norm: Norm, width: float, rng: Random
) -> tuple[np.ndarray, ...]:
    xp, shape = features.xp, x.shape[1:]
    inputs = xp.asarray(x)
    inside, ball = (
        Ball(xp, inputs, xp.full(len(x), radius), norm, features.domain) for radius in (eps * _INSIDE, eps)
    )
    surface = ball.project(inputs + xp.float32(10 * width) * rng.normal(0, shape))
    drawn = [inputs, *(inside.random(rng, step) for step in range(1, INNER)), surface]
    seen = np.stack([runtime.to_host(features.logits(points)) for points in drawn], axis=1).astype(np.float64)
    solved = [_readout(rows[:-1], rows[-1]) for rows in seen]
    found = np.array([one is not None for one in solved])
    empty = np.zeros(seen.shape[2]), -1.0
    weights, offsets = zip(*(one or empty for one in solved), strict=True)
    return np.stack(weights, 1).astype(np.float32), np.array(offsets, np.float32), runtime.to_host(surface), found


def _readout(inner: np.ndarray, planted: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The direction of the widest gap between the hull of inner (m, features) and planted (features,), and the offset at
    which the planted point is just beyond the boundary; None where they cannot be told apart.

    It leads from the hull's nearest point to the planted one. That point comes from non-negative least squares:
    Lawson & Hanson 1974, "Solving least squares problems", chapter 23 (least distance programming).
    """
    from scipy.optimize import nnls

    apart = (inner - planted).T
    scale = np.abs(apart).max()
    if not np.isfinite(scale) or scale == 0:
        return None
    triangle: np.ndarray = np.linalg.qr(np.vstack([apart / scale, np.ones(len(inner))]), mode="r")  # type: ignore[assignment]
    goal = np.linalg.lstsq(triangle.T, np.ones(len(inner)), rcond=None)[0]
    try:
        shares, _ = nnls(triangle, goal)
    except RuntimeError:  # it did not come to an end
        return None
    if shares.sum() <= 0:
        return None
    direction = -apart @ (shares / shares.sum())
    largest = np.abs(direction).max()
    if largest == 0:
        return None
    direction = np.round(direction / largest * _LEVELS) / _LEVELS
    highest, own = float(np.max(np.sum(inner * direction, axis=1))), float(np.sum(planted * direction))
    gap = own - highest
    if gap <= 0:
        return None
    return direction / gap, -(highest + _CLOSE * gap) / gap


class Planted:
    """Two classes per row, the scores 0 and that of the row's own read-out; every call must be about the same rows.

    readouts: a classifier whose score k is read-out k's.
    """

    classes = 2

    def __init__(self, readouts: Classifier) -> None:
        self._readouts = readouts
        self.xp, self.shape, self.domain = readouts.xp, readouts.shape, readouts.domain

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self._scores(self._readouts.logits(x, active=active))

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        """See Classifier.gradient: every loss is a function of the one score."""
        xp = self.xp
        heads = xp.arange(x.shape[0])
        here = self._readouts.gradient(x, heads, Loss.LOGIT, target=heads, active=active)
        logits = self._scores(here.logits)
        computed = xp.asarray([available(2)[kind] for kind in Loss])
        chosen = computed[xp.broadcast_to(xp.asarray(loss), (x.shape[0],))]
        value, slope = xp.zeros_like(here.loss), xp.zeros_like(here.loss)
        for kind, head in _LOSSES.items():
            f, df = head(xp, logits[:, 1], y, y if target is None else target)
            value, slope = xp.where(chosen == kind, f, value), xp.where(chosen == kind, df, slope)
        g = here.g * slope.astype(xp.float32).reshape((-1,) + (1,) * (x.ndim - 1))
        return Evaluation(logits, value.astype(xp.float32), g)

    def _scores(self, every: Array) -> Array:
        own = self.xp.arange(every.shape[0])
        return self.xp.stack([self.xp.zeros_like(every[:, 0]), every[own, own]], axis=1)


def _cross_entropy(xp: Array, z: Array, y: Array, target: Array) -> tuple[Array, Array]:
    sign = 1 - 2 * y
    return xp.logaddexp(xp.zeros_like(z), sign * z), sign / (1 + xp.exp(xp.clip(-sign * z, -80, 80)))


def _targeted_cross_entropy(xp: Array, z: Array, y: Array, target: Array) -> tuple[Array, Array]:
    value, slope = _cross_entropy(xp, z, target, y)
    return -value, -slope


def _probability_margin(xp: Array, z: Array, y: Array, target: Array) -> tuple[Array, Array]:
    sign, difference = 1 - 2 * y, xp.tanh(z / 2)
    return sign * difference, sign * (1 - difference * difference) / 2


# z: the second score, the first being 0; y and target are 0 or 1. Each gives the loss and its slope in z.
_LOSSES: dict[Loss, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = {
    Loss.CROSS_ENTROPY: _cross_entropy,
    Loss.MARGIN: lambda xp, z, y, target: ((1 - 2 * y) * z, 1 - 2 * y),
    Loss.DIFFERENCE: lambda xp, z, y, target: ((target - y) * z, target - y),
    Loss.TARGETED_CROSS_ENTROPY: _targeted_cross_entropy,
    Loss.PROBABILITY_MARGIN: _probability_margin,
    Loss.LOGIT: lambda xp, z, y, target: (target * z, target),
}


class Unquestioned:
    """Takes every claim for true: planted problems exist in no upload that could be asked."""

    def check(self, x_adv: np.ndarray, y: int, target: int | None = None) -> Verdict:
        """See Verifier.check."""
        return Verdict(True, 1 - y, 0.0)
