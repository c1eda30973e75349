"""What a randomised model decides, and when a point counts: by fresh draws that no attack has seen.

The model's decision for an input is the class that it gives most often. A point counts as adversarial when, of DRAWS
fresh draws, at least NEEDED give another class than the label: were the label given in half of all draws, so many would
come in 0.1 % of cases. Half of the draws come with ONNX Runtime's default graph optimisation and half with none. The seed
is made of the input's own bytes, so that a point has the same draws whenever and wherever it is judged, and an attack,
whose draws have other seeds, cannot have chosen them.
"""

import hashlib

import numpy as np

from auditor import runtime
from auditor.attacks.verify import Verdict, Verifier

DRAWS = 32
NEEDED = 25


class Voter(Verifier):
    """Runs a randomised upload as it was uploaded, one example at a time, several times."""

    def scores(self, x: np.ndarray, *, optimised: bool = True) -> np.ndarray:
        """(*shape) float32 in domain units -> (answers,) shares of DRAWS draws that give each answer; NaN where a score of
        the upload is not finite. `optimised` says nothing here: both ways are asked."""
        given = self._votes(x)
        if (given < 0).any():
            return np.full(self._upload.answers, np.nan)
        return np.bincount(given, minlength=self._upload.answers) / len(given)

    def confidence(self, scores: np.ndarray) -> float:
        """The share of draws that give the decision."""
        return float(np.max(scores))

    def check(self, x_adv: np.ndarray, y: int, target: int | None = None) -> Verdict:
        """See Verifier.check. margin: the share of draws with another class (with the target) less that without; predicted:
        the other class given most often. A draw that is not finite, refuses, or ties for the largest, is one for the label."""
        if not self.inside(x_adv):
            return Verdict(False, -1, -np.inf)
        given = self._votes(x_adv, y, target)
        wrong = given[self._reached(given, y, target)]
        counts = len(wrong) >= NEEDED
        predicted = int(np.argmax(np.bincount(wrong))) if len(wrong) else y
        return Verdict(counts, predicted, 2 * len(wrong) / len(given) - 1, len(wrong) / len(given))

    def _votes(self, x: np.ndarray, y: int | None = None, target: int | None = None) -> np.ndarray:
        """The class that each draw gives, -1 where its scores are not finite; where a label is given, no more draws than
        it takes to see that the point does not count."""
        seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(x).tobytes()).digest()[:4], "little") >> 1
        given: list[int] = []
        for optimise in ("all", "none"):
            session = runtime.Session(self._upload.data, optimise=optimise, seed=seed)
            for _ in range(DRAWS // 2):
                given.append(_decision(self.run(session, x), y))
                if y is not None and np.sum(~self._reached(np.array(given), y, target)) > DRAWS - NEEDED:
                    return np.array(given)
        return np.array(given)

    def _reached(self, given: np.ndarray, y: int, target: int | None) -> np.ndarray:
        """Which draws are a class other than the label, and no refusal, or the target where there is one."""
        if target is not None:
            return given == target
        return (given != y) & (given >= 0) & ~np.isin(given, self._upload.refused)


def _decision(scores: np.ndarray, y: int | None) -> int:
    if not np.isfinite(scores).all():
        return -1
    tied = np.sum(scores == np.max(scores)) > 1
    return y if y is not None and tied else int(np.argmax(scores))
