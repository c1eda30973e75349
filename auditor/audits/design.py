"""How the audited examples stand for the population, and what that does to every share and its interval.

Examples that were drawn one by one are `Alike`: exact intervals by counting. Where examples have weights, or come in
groups whose members are not independent (frames of one film, images of one patient), they are `Surveyed`: shares are
weighted, and a share of n examples is worth as much as one of fewer independent ones, its effective size n / deff.

The design effect deff is the variance of the weighted share, linearised over groups (Binder 1983), by the variance that it would
have without weights and groups. Korn & Graubard (1998, Survey Methodology 24, 193-201) put the effective size, adjusted for the
degrees of freedom of that estimate, in the place of n in Clopper & Pearson's interval.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from auditor.audits.statistics import (
    ALPHA,
    Interval,
    dkw_margin,
    lower_limit,
    mean_limits,
    median,
    median_interval,
    upper_limit,
)

FEW_GROUPS = 20  # below which limits that are estimated over groups are rough


class Design(Protocol):
    """What n examples say of the population. `holds` is (n,) bool, `values` (n,) float64 from 0 to 1, levels are one-sided."""

    def share(self, holds: np.ndarray) -> float:
        """The share of examples, by weight, of which something holds."""
        ...

    def lower(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        """Lower limit of that share at confidence 1 - alpha."""
        ...

    def upper(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        """Upper limit of that share at confidence 1 - alpha."""
        ...

    def band(self, smallest: np.ndarray, largest: np.ndarray, points: int) -> Interval:
        """Limits of a share that lies between two, at one of so many points, which hold at all of them together with 95 %."""
        ...

    def mean(self, values: np.ndarray) -> float:
        """The mean, by weight."""
        ...

    def mean_limits(self, values: np.ndarray) -> Interval:
        """95 % interval of that mean."""
        ...

    def median(self, distances: np.ndarray) -> float:
        """The smallest distance within which at least half lie, by weight. (n,) float64, inf allowed"""
        ...

    def median_interval(self, smallest: np.ndarray, largest: np.ndarray) -> Interval:
        """95 % interval of the median of distances that are known to lie between two. (n,) each"""
        ...

    def effective(self, values: np.ndarray) -> float:
        """How many independent examples of equal weight would tell as much of the mean of `values`."""
        ...

    def rows(self, rows: np.ndarray) -> "Design":
        """The same of some of the examples: positions, or (n,) bool."""
        ...


@dataclass(frozen=True)
class Alike:
    """n examples of equal weight, drawn independently of each other."""

    n: int

    def share(self, holds: np.ndarray) -> float:
        return int(np.sum(holds)) / self.n

    def lower(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        return lower_limit(int(np.sum(holds)), self.n, alpha)

    def upper(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        return upper_limit(int(np.sum(holds)), self.n, alpha)

    def band(self, smallest: np.ndarray, largest: np.ndarray, points: int) -> Interval:
        """Of Dvoretzky, Kiefer & Wolfowitz, which holds between the points too; see `dkw_margin`."""
        margin = dkw_margin(self.n)
        return max(0.0, self.share(smallest) - margin), min(1.0, self.share(largest) + margin)

    def mean(self, values: np.ndarray) -> float:
        return float(np.mean(values))

    def mean_limits(self, values: np.ndarray) -> Interval:
        return mean_limits(self.mean(values), self.n)

    def median(self, distances: np.ndarray) -> float:
        return median(distances)

    def median_interval(self, smallest: np.ndarray, largest: np.ndarray) -> Interval:
        return median_interval(smallest, largest)

    def effective(self, values: np.ndarray) -> float:
        return float(self.n)

    def rows(self, rows: np.ndarray) -> Design:
        return Alike(int(np.arange(self.n)[rows].size))


@dataclass(frozen=True)
class Surveyed:
    """n examples with their weights (n,) float64 above 0, in groups (n,) int64 whose members need not be independent.

    Limits are approximate: groups must be independent of each other, and enough of them for a variance to be estimated.
    """

    weight: np.ndarray
    group: np.ndarray

    @property
    def groups(self) -> int:
        return len(np.unique(self.group))

    def share(self, holds: np.ndarray) -> float:
        return self.mean(np.asarray(holds, np.float64))

    def mean(self, values: np.ndarray) -> float:
        return float(np.sum(self.weight * values) / np.sum(self.weight))

    def effective(self, values: np.ndarray) -> float:
        """Korn & Graubard's, at 95 %; at most as many as the weights alone leave (Kish 1965), 0 where a single group lets nothing
        be said. Where all values are alike no variance shows: then each group counts as one example."""
        return self._effective(values, ALPHA / 2)

    def _effective(self, values: np.ndarray, alpha: float) -> float:
        n, groups = len(self.weight), self.groups
        if groups < 2:
            return 0.0
        total = float(np.sum(self.weight))
        most = total**2 / float(np.sum(self.weight**2))
        apart = values - self.mean(values)
        spread = float(np.sum(self.weight * apart**2)) / total
        if spread <= 1e-12:  # rounding
            return total**2 / float(np.sum(self._sums(self.weight) ** 2))
        variance = groups / (groups - 1) * float(np.sum(self._sums(self.weight * apart) ** 2)) / total**2
        if variance <= 0:
            return most
        quantiles = special.stdtrit(n - 1, 1 - alpha) / special.stdtrit(groups - 1, 1 - alpha)
        return min(n * spread / (n - 1) / variance * float(quantiles) ** 2, most)

    def lower(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        values = np.asarray(holds, np.float64)
        return _lower(self.mean(values), self._effective(values, alpha), alpha)

    def upper(self, holds: np.ndarray, alpha: float = ALPHA / 2) -> float:
        values = np.asarray(holds, np.float64)
        return _upper(self.mean(values), self._effective(values, alpha), alpha)

    def band(self, smallest: np.ndarray, largest: np.ndarray, points: int) -> Interval:
        """Each point at its part of 5 % (Bonferroni): no distribution-free band is known for such examples."""
        return self.lower(smallest, ALPHA / 2 / points), self.upper(largest, ALPHA / 2 / points)

    def mean_limits(self, values: np.ndarray) -> Interval:
        """Hoeffding's for as many numbers as the effective size."""
        n = self.effective(values)
        return mean_limits(self.mean(values), n) if n > 0 else (0.0, 1.0)

    def median(self, distances: np.ndarray) -> float:
        return self._quantile(distances, 0.5)

    def median_interval(self, smallest: np.ndarray, largest: np.ndarray) -> Interval:
        """Woodruff's (1952): the distances at the limits of a share of one half."""
        least, most = (self.effective(d <= self.median(d)) for d in (smallest, largest))
        low, high = _lower(0.5, least, ALPHA / 2), _upper(0.5, most, ALPHA / 2)
        return (
            self._quantile(smallest, low) if low > 0 else 0.0,
            self._quantile(largest, high) if high < 1 else math.inf,
        )

    def rows(self, rows: np.ndarray) -> Design:
        return Surveyed(self.weight[rows], self.group[rows])

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Of each group."""
        _, place = np.unique(self.group, return_inverse=True)
        return np.bincount(place, weights=values)

    def _quantile(self, values: np.ndarray, share: float) -> float:
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(self.weight[order]) / np.sum(self.weight)
        place = int(np.searchsorted(reached, share - 1e-12))
        return float(values[order[min(place, len(order) - 1)]])


def _lower(share: float, n: float, alpha: float) -> float:
    """Clopper & Pearson's limit where neither the count nor n need be whole."""
    return 0.0 if share <= 0 or n == 0 else float(special.betaincinv(n * share, n - n * share + 1, alpha))


def _upper(share: float, n: float, alpha: float) -> float:
    return 1.0 if share >= 1 or n == 0 else float(special.betaincinv(n * share + 1, n - n * share, 1 - alpha))


def design_of(weight: np.ndarray | None, group: np.ndarray | None, n: int) -> Design:
    """Of n examples. weight: (n,) above 0, or None where all count alike; group: (n,) of whatever kind, or None where
    each is one of its own. Where both come to nothing, examples are `Alike`."""
    weight = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    place = np.arange(n) if group is None else np.unique(group, return_inverse=True)[1].astype(np.int64)
    if (weight == weight[:1]).all() and len(np.unique(place)) == n:
        return Alike(n)
    return Surveyed(weight, place)
