"""Intervals and tests that a robustness figure is read with.

Every interval is two-sided at `1 - alpha` with alpha / 2 on each side, so that one end alone is a one-sided limit at
alpha / 2; 5 % by default. They cover the drawing of examples from the distribution that the dataset stands for,
never the weakness of the attacks.
"""

import math

import numpy as np
from scipy import special

ALPHA = 0.05

Interval = tuple[float, float]


def lower_limit(k: int, n: int, alpha: float = ALPHA / 2) -> float:
    """Lower limit at confidence 1 - alpha for a probability with k successes in n draws (Clopper & Pearson 1934)."""
    _check_counts(k, n)
    return 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, alpha))


def upper_limit(k: int, n: int, alpha: float = ALPHA / 2) -> float:
    """Upper limit at confidence 1 - alpha for a probability with k successes in n draws (Clopper & Pearson 1934)."""
    _check_counts(k, n)
    return 1.0 if k == n else float(special.betaincinv(k + 1, n - k, 1 - alpha))


def clopper_pearson(k: int, n: int, alpha: float = ALPHA) -> Interval:
    """Exact interval: covers with probability at least 1 - alpha, whatever the true probability is."""
    return lower_limit(k, n, alpha / 2), upper_limit(k, n, alpha / 2)


def mean_limits(mean: float, n: float, alpha: float = ALPHA) -> Interval:
    """Interval of the mean of n independent numbers in [0, 1] of whatever distribution: where the relative entropy
    between the mean seen and the true one is at most log(2 / alpha) / n (Hoeffding 1963, theorem 1)."""
    from scipy.optimize import bisect

    if n <= 0 or not 0 <= mean <= 1:
        raise ValueError(f"{mean} is not the mean of {n} numbers from 0 to 1")

    def beyond(q: float) -> float:
        return float(special.rel_entr(mean, q) + special.rel_entr(1 - mean, 1 - q)) - math.log(2 / alpha) / n

    smallest, largest = 1e-300, math.nextafter(1.0, 0.0)
    lower = bisect(beyond, smallest, mean, xtol=1e-12) if mean > 0 and beyond(smallest) > 0 else 0.0
    upper = bisect(beyond, mean, largest, xtol=1e-12) if mean < 1 and beyond(largest) > 0 else 1.0
    return lower, upper


def dkw_margin(n: int, alpha: float = ALPHA) -> float:
    """Half the width of the band that holds a whole distribution function at once, cut to at most 1.

    Dvoretzky, Kiefer & Wolfowitz 1956 with the constant of Massart 1990: P(sup |F_n - F| > e) <= 2 exp(-2 n e^2).
    A robustness curve is 1 - F of the examples' smallest distances (0 when wrong clean), so the band holds over all
    eps together where examples are a simple random sample and each one's distance depends on that example alone.
    """
    return 1.0 if n == 0 else min(1.0, math.sqrt(math.log(2 / alpha) / (2 * n)))


def median_ranks(n: int, alpha: float = ALPHA) -> tuple[int, int]:
    """The ranks (1 to n) of the order statistics that enclose the median; (0, n + 1) where n is too small.

    Distribution-free, ties allowed: David & Nagaraja, Order Statistics (2003), section 7.1.
    """
    rank = int(np.searchsorted(special.bdtr(np.arange(n + 1), n, 0.5), alpha / 2)) if n else 0
    return rank, n + 1 - rank


def median(distances: np.ndarray) -> float:
    """The smallest distance within which at least half lie: (n,) float64, inf allowed."""
    return float(np.sort(distances)[(len(distances) - 1) // 2])


def median_interval(smallest: np.ndarray, largest: np.ndarray, alpha: float = ALPHA) -> Interval:
    """Interval of the median of distances that are known to lie between `smallest` and `largest`, (n,) each."""
    low, high = median_ranks(len(smallest), alpha)
    if low == 0:
        return 0.0, math.inf
    return float(np.sort(smallest)[low - 1]), float(np.sort(largest)[high - 1])


def net_loss_z(lost: float, gained: float, n: float, delta: float) -> float:
    """Tango's score statistic for a net loss of delta: large when more was lost than delta would explain.

    lost, gained: pairs that only the first or only the second of two paired results holds, out of n; counts of effective size
    need not be whole.
    Tango 1998, Statistics in Medicine 17, 891-908.
    """
    _check_counts(lost + gained, n)
    # the chance of a gain that is likeliest under this delta: the root of 2n q^2 + b q + c = 0 in [0, 1]
    b = (2 * n - lost + gained) * delta - lost - gained
    c = -gained * delta * (1 - delta)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    q = (root - b) / (4 * n) if b <= 0 else -2 * c / (root + b)
    variance = n * (2 * q + delta * (1 - delta))
    excess = lost - gained - n * delta
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def net_loss_limits(lost: float, gained: float, n: float, alpha: float = ALPHA) -> Interval:
    """Interval of the net loss P(lost) - P(gained) of paired results: Tango's score interval.

    Not exact: its coverage stays near the nominal one, small samples and no discordant pair included, which is why
    Fagerland, Lydersen & Laake 2014 (Statistics in Medicine 33, 2850-2875) recommend it.
    """
    from scipy.optimize import bisect

    estimate, z = (lost - gained) / n, -float(special.ndtri(alpha / 2))
    lower = upper = estimate
    if estimate > -1:
        lower = bisect(lambda delta: net_loss_z(lost, gained, n, delta) - z, -1, estimate, xtol=1e-12)
    if estimate < 1:
        upper = bisect(lambda delta: net_loss_z(lost, gained, n, delta) + z, estimate, 1, xtol=1e-12)
    return lower, upper


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test; above 0.05 it is no proof that nothing was lost."""
    return min(1.0, 2 * float(special.bdtr(min(lost, gained), lost + gained, 0.5))) if lost + gained else 1.0


def sign_test(more: int, less: int) -> float:
    """One-sided p-value of `more` against `less` among the pairs that differ: the chance of so many by coin flips."""
    return float(special.bdtrc(more - 1, more + less, 0.5)) if more else 1.0


def holm_levels(p: np.ndarray, alpha: float) -> np.ndarray:
    """The level at which each hypothesis is tested so that all errors together stay below alpha (Holm 1979).

    p: (m,) p-values. Hypothesis i is rejected exactly where p[i] <= levels[i].
    """
    levels = np.empty(len(p))
    level = 0.0
    stopped = False
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        if not stopped:
            level = alpha / (len(p) - rank)
            stopped = bool(p[i] > level)
        levels[i] = level
    return levels


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """(m,) p-values, each as large as the level of all tests together at which Holm's procedure just rejects it."""
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    adjusted = np.empty(len(p))
    adjusted[order] = steps
    return adjusted


def _check_counts(k: float, n: float) -> None:
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} out of {n} is not a count out of at least one")
