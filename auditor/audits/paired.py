"""Two audits of the same examples, paired: what the later one lost and gained at one point of a curve.

Where examples have weights or groups, counts are those of as many independent pairs as tell as much: shares of lost and
gained times the effective size of their difference (Rao & Scott 1992, Biometrics 48, 577-585).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from auditor.audits.design import Alike, Design
from auditor.audits.outcomes import Outcomes
from auditor.audits.statistics import ALPHA, Interval, mcnemar, net_loss_limits, net_loss_z
from auditor.spec import Norm


def pairs(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both of the examples that both hold; the k-th copy of an example meets the k-th."""
    places = defaultdict(list)
    for position, digest in enumerate(first):
        places[digest].append(position)
    waiting = {digest: iter(positions) for digest, positions in places.items()}
    found = [(next(waiting.get(digest, iter(())), None), position) for position, digest in enumerate(second)]
    matched = np.array([pair for pair in found if pair[0] is not None], np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


class Counts(NamedTuple):
    """How many pairs only the first or only the second of two results holds, out of n."""

    lost: float
    gained: float
    n: float

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray, design: Design) -> "Counts":
        """first, second: (n,) bool."""
        lost, gained = first & ~second, second & ~first
        if isinstance(design, Alike):
            return cls(int(np.sum(lost)), int(np.sum(gained)), design.n)
        n = design.effective(lost.astype(np.float64) - gained)
        return cls(n * design.share(lost), n * design.share(gained), n)

    def p_above(self, delta: float) -> float:
        """p-value against a net loss of at most delta."""
        return float(ndtr(-net_loss_z(*self, delta))) if self.n else 1.0

    def p_below(self, delta: float) -> float:
        """p-value against a net loss of at least delta."""
        return float(ndtr(net_loss_z(*self, delta))) if self.n else 1.0

    def limits(self, alpha: float) -> Interval:
        return net_loss_limits(*self, alpha) if self.n else (-1.0, 1.0)


@dataclass(frozen=True)
class Loss:
    """What was lost and gained among n pairs at one point: as observed, and as few and as many as may be true.

    They differ where examples are unfinished: at best those of the present audit stand and those of the baseline
    would have been broken, at worst the other way round. net: the share lost less the share gained, by weight.
    """

    norm: Norm
    eps: str
    n: int
    observed: tuple[int, int]
    net: float
    mcnemar_p: float
    least: Counts
    most: Counts

    @classmethod
    def between(
        cls,
        first: Outcomes,
        before: np.ndarray,
        second: Outcomes,
        now: np.ndarray,
        eps: str,
        design: Design | None = None,
    ) -> "Loss":
        """design: of the pairs, drawn one by one unless said."""
        design = design or Alike(len(before))
        stood, surely_stood = first.standing(eps)[before], first.finished_standing(eps)[before]
        stands, surely_stands = second.standing(eps)[now], second.finished_standing(eps)[now]
        lost, gained = stood & ~stands, stands & ~stood
        counts = int(np.sum(lost)), int(np.sum(gained))
        alike = isinstance(design, Alike)
        return cls(
            second.threat.norm,
            eps,
            len(before),
            observed=counts,
            net=(counts[0] - counts[1]) / len(before) if alike else design.share(lost) - design.share(gained),
            mcnemar_p=mcnemar(*counts) if alike else _by_variance(Counts.of(stood, stands, design)),
            least=Counts.of(surely_stood, stands, design),
            most=Counts.of(stood, surely_stands, design),
        )

    def p_above(self, margin: float) -> float:
        """p-value against a net loss of at most margin."""
        return self.least.p_above(margin)

    def p_below(self, margin: float) -> float:
        """p-value against a net loss of at least margin."""
        return self.most.p_below(margin)

    def limits(self, lower_level: float = ALPHA / 2, upper_level: float = ALPHA / 2) -> Interval:
        """Interval of the net loss; each end at its own level."""
        return self.least.limits(2 * lower_level)[0], self.most.limits(2 * upper_level)[1]


def _by_variance(counts: Counts) -> float:
    """McNemar's two-sided p by its large-sample statistic: counts of effective size are not whole."""
    return min(1.0, 2 * min(counts.p_above(0.0), counts.p_below(0.0)))
