"""Nobody marks their own work: every claimed adversarial example is re-checked on the untouched upload.

A point counts when the bytes as uploaded, run by plain ONNX Runtime on the CPU with one thread on that example alone
(N copies where the upload's batch is fixed to N), behind the declared normalisation in NumPy float32, give another
class, one that is no refusal, or the target where there is one, both with ONNX Runtime's default graph optimisation and with none. The largest score decides, the first of
equals; a tie for the largest is not broken, and a score that is not finite never counts. The input must be finite
and inside the domain. How far it lies from the clean one, and whether it may take its place, is a question to `Space`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import expit, softmax

from auditor import runtime
from auditor.graph.labelset import against
from auditor.graph.normalise import normalise
from auditor.graph.upload import Upload
from auditor.spec import Normalisation


@dataclass(frozen=True)
class Verdict:
    """What the upload says about one point. margin: (best other score - own score) / range of scores, for a target (its
    score - best other score) / range, the smaller of the two runs; predicted: the class that the default run gives;
    confidence: see `Verifier.confidence`."""

    counts: bool
    predicted: int
    margin: float
    confidence: float = -np.inf


class Judge(Protocol):
    """Whoever decides whether a claimed point counts."""

    def check(self, x_adv: np.ndarray, y: int, target: int | None = None) -> Verdict:
        """Whether one point counts as adversarial for label y, by everything but its distance: whether it is of another
        class, or of the class `target` where there is one."""
        ...


class Verifier:
    """Runs the upload as it was uploaded, one example at a time."""

    def __init__(
        self,
        upload: Upload,
        *,
        domain: tuple[float, float] | None,
        normalisation: Normalisation | None = None,
    ) -> None:
        self._upload, self.domain, self._normalisation = upload, domain, normalisation

    @cached_property
    def _sessions(self) -> tuple[runtime.Session, runtime.Session]:
        data = self._upload.data
        return runtime.Session(data, optimise="all"), runtime.Session(data, optimise="none")

    def scores(self, x: np.ndarray, *, optimised: bool = True) -> np.ndarray:
        """(*shape) float32 in domain units -> (answers,) scores of the upload: of its classes, and of a rejection where it has
        a detector; of several labels less the threshold."""
        return self.run(self._sessions[0 if optimised else 1], x)

    def run(self, session: runtime.Session, x: np.ndarray) -> np.ndarray:
        """The same by a session of the upload's."""
        upload = self._upload
        one = normalise(x[None], self._normalisation, upload.layout)
        return np.asarray(upload.run(session, one)[0], dtype=np.float64)

    def confidence(self, scores: np.ndarray) -> float:
        """The probability that (answers,) scores give to the largest class, of independent labels to the set of them; -inf
        where the upload gives labels only."""
        if self._upload.scores == "label":
            return -np.inf
        if self._upload.multilabel:
            raw = scores + (self._upload.threshold or 0)
            given = raw if self._upload.scores == "probabilities" else expit(raw)
            return float(np.prod(np.where(scores > 0, given, 1 - given)))
        scores = scores[: self._upload.classes]
        return float(np.max(scores if self._upload.scores == "probabilities" else softmax(scores)))

    def answer(self, scores: np.ndarray) -> int:
        """The class that (answers,) scores give: the first largest; of several labels the set of them."""
        return int(self._upload.reading.answers(np, scores[None])[0])

    def inside(self, x: np.ndarray) -> bool:
        """Whether an input is finite and inside the domain."""
        inside = bool(np.isfinite(x).all())
        if self.domain is not None:
            exact = x.astype(np.float64)  # so that the bounds are not rounded to float32
            inside = inside and bool((exact >= self.domain[0]).all() and (exact <= self.domain[1]).all())
        return inside

    def check(self, x_adv: np.ndarray, y: int, target: int | None = None) -> Verdict:
        """Whether one point counts as adversarial for label y, by everything but its distance: whether it is of another
        class, or of the class `target` where there is one."""
        if not self.inside(x_adv):
            return Verdict(False, -1, -np.inf)
        default, plain = (self.scores(x_adv, optimised=optimised) for optimised in (True, False))
        predicted = self.answer(default)
        if not (np.isfinite(default).all() and np.isfinite(plain).all()):
            return Verdict(False, predicted, -np.inf)
        if self._upload.multilabel:
            sets = np.array([y])
            margin = min(_relative_margin(against(np, scores[None], sets)[0], 0) for scores in (default, plain))
            counts = margin > 0
        elif target is None:
            margin = min(_relative_margin(scores, y, self._upload.refused) for scores in (default, plain))
            counts = margin > 0
        else:
            margin = min(-_relative_margin(scores, target) for scores in (default, plain))
            counts = margin > 0
        return Verdict(counts, predicted, margin, self.confidence(default))


def _relative_margin(scores: np.ndarray, y: int, refused: tuple[int, ...] = ()) -> float:
    """The best other score less the label's, or a refusal's where that is larger, as a share of the range."""
    spread, own = float(np.ptp(scores)), (y, *refused)
    return float(np.max(np.delete(scores, own)) - np.max(scores[list(own)])) / spread if spread > 0 else 0.0
