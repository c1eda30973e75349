"""The epsilons of a threat, as exact numbers beside measured distances."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from auditor.attacks.space import Space
from auditor.spec import Threat, exact


class Grid:
    """A threat's epsilons, compared exactly with float64 distances."""

    def __init__(self, threat: Threat, space: Space) -> None:
        self.eps = [exact(text) for text in threat.eps]
        self._units = np.array([space.reach(eps, threat.norm) for eps in self.eps])

    def critical(self, distance: np.ndarray) -> np.ndarray:
        """Position of the largest eps below each distance (n,), -1 where no eps is."""
        return critical(self.eps, distance)

    def units(self, position: np.ndarray) -> np.ndarray:
        """(n,) eps in input units, rounded down, so that a point at that distance counts as within eps; 0 for -1."""
        return np.where(position >= 0, self._units[np.maximum(position, 0)], 0.0)

    def open(self, distance: np.ndarray) -> np.ndarray:
        """Whether a nearer point could still change the curve. (n,) -> (n,) bool"""
        return self.units(self.critical(distance)) > 0

    def proved(self, distance: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Whether the radius, within which nothing is, covers every eps below the distance. (n,), (n,) -> (n,) bool"""
        rows = zip(self.critical(distance).tolist(), radius.tolist(), strict=True)
        return np.array(
            [at >= 0 and r > 0 and (r == np.inf or self.eps[at] <= Fraction(r)) for at, r in rows], dtype=bool
        )


def critical(eps: Sequence[Fraction], distance: np.ndarray) -> np.ndarray:
    """Position of the largest of ascending eps below each distance (n,), -1 where no eps is."""
    return np.array([len(eps) if d == np.inf else bisect_left(eps, Fraction(d)) for d in distance.tolist()]) - 1
