"""Measurements of whether a loss leads an attack anywhere: its gradients when clean, how smooth it is, how far it climbs."""

from dataclasses import dataclass

import numpy as np

from auditor import runtime
from auditor.attacks.attempt import margin, safely_broken
from auditor.attacks.norms import Ball
from auditor.attacks.random import Random
from auditor.attacks.shown import Shown, shown
from auditor.attacks.targeted import Targeted
from auditor.classifier import Array, Classifier, Evaluation
from auditor.graph.reading import EXCLUSIVE, Reading
from auditor.spec import Loss

PASSES = 3  # forwards, and backwards, that `slopes` takes per example
DRAWS = 16  # points that `jumps` asks for per example, beside the example itself
REACH = 1e-3  # how far they lie away at most, in widths of the domain
_ROUNDING = 1e-5  # by how much float32 probabilities may miss a sum of 1, as in AutoAttack's check


@dataclass(frozen=True)
class Slopes:
    """Gradients at the clean examples, one row each, all (n,) bool.

    zero, zero_cross_entropy, zero_label: no entry of the gradient of the margin, of the cross-entropy or of the label's
    own score differs from 0. finite: every entry is finite. probabilities: the scores lie in [0, 1] and sum to 1.
    """

    zero: np.ndarray
    zero_cross_entropy: np.ndarray
    zero_label: np.ndarray
    finite: np.ndarray
    probabilities: np.ndarray


def slopes(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> Slopes:
    """x: (n, *shape) float32, y: (n,) int64. PASSES forwards and backwards per example."""
    xp = classifier.xp
    inputs, labels = xp.asarray(x), xp.asarray(y)
    losses = (Loss.MARGIN, Loss.CROSS_ENTROPY, Loss.LOGIT)
    margin, *others = (classifier.gradient(inputs, labels, loss, target=labels) for loss in losses)
    g, g_cross_entropy, g_label = (runtime.to_host(e.g).reshape(len(x), -1) for e in (margin, *others))
    scores = runtime.to_host(margin.logits).astype(np.float64)
    return Slopes(
        zero=np.all(g == 0, axis=1),
        zero_cross_entropy=np.all(g_cross_entropy == 0, axis=1),
        zero_label=np.all(g_label == 0, axis=1),
        finite=np.isfinite(np.concatenate([g, g_cross_entropy, g_label], axis=1)).all(axis=1),
        probabilities=np.all((scores >= 0) & (scores <= 1), axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _ROUNDING),
    )


def jumps(classifier: Classifier, x: np.ndarray, y: np.ndarray, rng: Random, width: float) -> np.ndarray:
    """By how much of itself the margin changes on average at DRAWS random points that nobody could tell from x.

    x: (n, *shape) float32, y: (n,) int64; width: of the domain. (n,) float64, NaN where a score is not finite. The
    indicator "unstable predictions" of Pintor et al. 2022, "Indicators of attack failure", at a smaller distance: a
    smooth loss hardly moves there. DRAWS + 1 forwards per example.
    """
    xp = classifier.xp
    inputs, labels = xp.asarray(x), xp.asarray(y)
    ball = Ball(xp, inputs, xp.full(len(x), REACH * width), "Linf", classifier.domain)

    def at(points: Array) -> np.ndarray:
        return runtime.to_host(margin(xp, classifier.logits(points), labels)).astype(np.float64)

    own = at(inputs)
    changes = [np.abs(at(ball.random(rng, draw)) - own) for draw in range(DRAWS)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.mean(changes, axis=0) / np.abs(own)


class Traced:
    """A classifier that remembers every step of an attack: the loss, and at which call each row was first broken; every
    call must be about the same rows, with the same labels. target: (n,) what counts as broken, where the attack sees
    it through `Targeted`; None where any answer but y does, read as `reading` says.
    """

    def __init__(
        self,
        classifier: Classifier,
        y: np.ndarray,
        target: np.ndarray | None = None,
        reading: Reading = EXCLUSIVE,
    ) -> None:
        self._classifier = classifier
        self._sign = 1 if target is None else -1  # an attack goes down the target's loss
        xp = classifier.xp
        seen, self._y = shown(classifier, xp.asarray(y), reading)
        self._seen = seen if target is None else Targeted(classifier, self._y, xp.asarray(target))
        self._calls = 0
        self._broken_at = np.full(len(y), -1, dtype=np.int64)
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain
        self._losses: list[np.ndarray] = []

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        logits = self._classifier.logits(x, active=active)
        self._look(logits, active)
        return logits

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        here = self._classifier.gradient(x, y, loss, target=target, active=active)
        losses = self._sign * runtime.to_host(here.loss).astype(np.float64)
        self._losses.append(losses if active is None else np.where(runtime.to_host(active), losses, self._left()))
        self._look(here.logits, active)
        return here

    def _left(self) -> np.ndarray:
        """The loss of rows that the attack has left: NaN where it broke them; elsewhere it comes back to points where it
        has been, so that the last loss stands for those to come."""
        last = self._losses[-1] if self._losses else np.nan
        return np.where(self._broken_at < 0, last, np.nan)

    def _look(self, logits: Array, active: Array | None) -> None:
        shown = self._seen.seen(logits) if isinstance(self._seen, Targeted | Shown) else logits
        rows = safely_broken(self.xp, shown, self._y)
        rows = runtime.to_host(rows if active is None else rows & active)
        self._broken_at = np.where(rows & (self._broken_at < 0), self._calls, self._broken_at)
        self._calls += 1

    @property
    def broken_at(self) -> np.ndarray:
        """(n,) int64: the number of the first call, from 0 on, at which each row was safely broken; -1 for none."""
        return self._broken_at

    def late_rise(self, n: int) -> np.ndarray:
        """How much of its whole range the best loss still gained in the last quarter of the steps.

        (n,) float64 from 0 to 1; NaN for rows that were broken on the way or met a loss that is not finite. The
        indicator "incomplete optimisation" of Pintor et al. 2022, "Indicators of attack failure".
        """
        if not self._losses:
            return np.full(n, np.nan)
        losses = np.stack(self._losses)
        highest = np.maximum.accumulate(losses, axis=0)
        span = losses.max(axis=0) - losses.min(axis=0)
        late = highest[-1] - highest[(3 * len(losses)) // 4 - 1]
        with np.errstate(invalid="ignore"):
            return np.where(span == 0, 0.0, late / np.where(span == 0, 1.0, span))
