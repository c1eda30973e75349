"""Two audits of the same examples, paired: what the later one lost and gained at one point of a curve."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

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


@dataclass(frozen=True)
class Loss:
    """Paired counts (lost, gained) out of n at one point: as observed, and as few and as many as may be true.

    They differ where examples are unfinished: at best those of the present audit stand and those of the baseline
    would have been broken, at worst the other way round.
    """

    norm: Norm
    eps: str
    n: int
    observed: tuple[int, int]
    least: tuple[int, int]
    most: tuple[int, int]

    @classmethod
    def between(cls, first: Outcomes, before: np.ndarray, second: Outcomes, now: np.ndarray, eps: str) -> "Loss":
        stood, surely_stood = first.standing(eps)[before], first.finished_standing(eps)[before]
        stands, surely_stands = second.standing(eps)[now], second.finished_standing(eps)[now]
        return cls(
            second.threat.norm,
            eps,
            len(before),
            observed=_discordant(stood, stands),
            least=_discordant(surely_stood, stands),
            most=_discordant(stood, surely_stands),
        )

    @property
    def net(self) -> float:
        """Share lost, less the share gained."""
        lost, gained = self.observed
        return (lost - gained) / self.n

    @property
    def mcnemar_p(self) -> float:
        return mcnemar(*self.observed)

    def p_above(self, margin: float) -> float:
        """p-value against a net loss of at most margin."""
        return float(ndtr(-net_loss_z(*self.least, self.n, margin)))

    def p_below(self, margin: float) -> float:
        """p-value against a net loss of at least margin."""
        return float(ndtr(net_loss_z(*self.most, self.n, margin)))

    def limits(self, lower_level: float = ALPHA / 2, upper_level: float = ALPHA / 2) -> Interval:
        """Interval of the net loss; each end at its own level."""
        lower, _ = net_loss_limits(*self.least, self.n, 2 * lower_level)
        _, upper = net_loss_limits(*self.most, self.n, 2 * upper_level)
        return lower, upper


def _discordant(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    return int(np.sum(first & ~second)), int(np.sum(second & ~first))
