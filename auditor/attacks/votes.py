"""What a model decides where chance plays a part, and when a point counts: by fresh draws that no attack has seen.

Chance is in the model's own nodes, or in what is done to inputs before it (`Served`). The decision for an input is the class
that is given most often. A point counts as adversarial when, of DRAWS
fresh draws, at least NEEDED give another class than the label: were the label given in half of all draws, so many would
come in 0.1 % of cases. Half of the draws come with ONNX Runtime's default graph optimisation and half with none. The seed
is made of the input's own bytes, so that a point has the same draws whenever and wherever it is judged, and an attack,
whose draws have other seeds, cannot have chosen them. Where inputs are transformed, a point must break the untouched upload
without any transformation as well.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from auditor import runtime
from auditor.attacks.random import Random
from auditor.attacks.transformations import Served
from auditor.attacks.verify import Verdict, Verifier
from auditor.graph.upload import Upload
from auditor.spec import Normalisation

DRAWS = 32
NEEDED = 25


class Voter(Verifier):
    """Runs an upload as it was uploaded, one example at a time, several times: one that draws at random, or one to whose
    inputs something is done at random."""

    def __init__(
        self,
        upload: Upload,
        *,
        domain: tuple[float, float] | None,
        normalisation: Normalisation | None = None,
        served: Served | None = None,
    ) -> None:
        super().__init__(upload, domain=domain, normalisation=normalisation)
        self._served = served or Served()
        alone = Voter if upload.random else Verifier
        self._untouched = alone(upload, domain=domain, normalisation=normalisation) if self._served else None

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
        if self._untouched is not None and not (plainly := self._untouched.check(x_adv, y, target)).counts:
            return plainly
        given = self._votes(x_adv, y, target)
        wrong = given[self._reached(given, y, target)]
        counts = len(wrong) >= NEEDED
        predicted = int(np.argmax(np.bincount(wrong))) if len(wrong) else y
        return Verdict(counts, predicted, 2 * len(wrong) / len(given) - 1, len(wrong) / len(given))

    def _votes(self, x: np.ndarray, y: int | None = None, target: int | None = None) -> np.ndarray:
        """The class that each draw gives, -1 where its scores are not finite; where a label is given, no more draws than
        it takes to see that the point does not count."""
        seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(x).tobytes()).digest()[:4], "little") >> 1
        rng = Random.keyed(np, seed, "fresh draws", np.zeros(1, dtype=np.int64))
        given: list[int] = []
        for session in self._fresh(seed):
            for _ in range(DRAWS // 2):
                (seen,) = self._served.drawn(rng, len(given), x.shape).apply(x[None])
                given.append(_decision(self.run(session, seen), y))
                if y is not None and np.sum(~self._reached(np.array(given), y, target)) > DRAWS - NEEDED:
                    return np.array(given)
        return np.array(given)

    def _fresh(self, seed: int) -> Iterator[runtime.Session]:
        """With ONNX Runtime's default graph optimisation and with none; a model's own draws begin anew."""
        if not self._upload.random:
            yield from self._sessions
        else:
            for optimise in ("all", "none"):
                yield runtime.Session(self._upload.data, optimise=optimise, seed=seed)

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
