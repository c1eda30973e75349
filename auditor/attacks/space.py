"""Which inputs there are, and how far apart two of them lie.

Usually every float32 point of the domain is one, and distances are measured in widths of the domain. A `Space` with
fewer inputs shows attacks a classifier that moves what it is asked about to an input near by (`View`), so that any
attack works in it as it is; what an attack claims is moved in the same way, brought nearer where that is cheap, and
counts only where `admits` says so. Distances are computed in float64 from the float32 points, and compared with no
tolerance.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import isqrt

import numpy as np

from auditor.attacks.norms import distance
from auditor.classifier import Array, Classifier, Evaluation
from auditor.data.domain import bounds
from auditor.spec import NORMS, Loss, Norm


class View:
    """What attacks see of a slice: `classifier`, and `x`, the clean examples in its coordinates. (n, *shape)"""

    def __init__(self, classifier: Classifier, x: Array) -> None:
        self.classifier, self.x = classifier, x

    def input(self, points: Array) -> Array:
        """The inputs that the classifier is asked about at these points. (n, *shape) float32, both"""
        return points

    def coordinates(self, inputs: Array) -> Array:
        """Points at which the classifier is asked about these inputs. (n, *shape) float32, both"""
        return inputs

    def nearer(
        self, classifier: Classifier, inputs: Array, y: Array, norm: Norm, rows: Array, *, follow: bool
    ) -> Array:
        """Broken inputs, at `rows` (n,) bool, brought nearer to x where that is cheap; they stay broken.

        classifier: this view's, counting; follow: whether its gradient may be asked for. y: (n,) int64.
        (n, *shape) float32 -> (n, *shape), the very same array where nothing was tried.
        """
        return inputs


class AtInputs:
    """A classifier that is asked about the inputs of a view, with the gradient there for that at the points (straight
    through, Bengio et al. 2013)."""

    def __init__(self, classifier: Classifier, view: View) -> None:
        self._classifier, self._view = classifier, view
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        return self._classifier.logits(self._view.input(x), active=active)

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        return self._classifier.gradient(self._view.input(x), y, loss, target=target, active=active)


class Space:
    """Every float32 point of the domain, or of all space; distances in widths of the domain, in L0 in features."""

    def __init__(self, domain: tuple[float, float] | None = None) -> None:
        self.width = 1.0 if domain is None else domain[1] - domain[0]
        self._ends = bounds(domain)

    def view(self, classifier: Classifier, x: Array) -> View:
        """What attacks see of these examples, (n, *shape) float32 inputs of this space."""
        return View(classifier, x)

    def admits(self, x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
        """Whether each x_adv is an input that may take the place of its x, exactly, domain aside. (n, *shape) -> (n,)"""
        return np.ones(len(x), dtype=bool)

    def distances(self, x: np.ndarray, x_adv: np.ndarray) -> Mapping[Norm, np.ndarray]:
        """(n, *shape) pairs -> per norm (n,) float64, never rounded down."""
        return {norm: in_widths(distance(np, x, x_adv, norm), yardstick(norm, self.width)) for norm in NORMS}

    def reach(self, eps: Fraction, norm: Norm) -> float:
        """The largest distance in the view's coordinates at which an input may count as within eps; 0 where no input
        but x itself is."""
        yard = yardstick(norm, self.width)
        units = np.array([float(eps * Fraction(yard))])
        while Fraction(in_widths(units, yard)[0]) > eps:
            units = np.nextafter(units, 0)
        return float(units[0])

    def ceiling(self, found: np.ndarray, norm: Norm) -> np.ndarray:
        """Distances as measured here (n,) -> the distances in the view's coordinates below which a point is nearer."""
        return found * yardstick(norm, self.width)

    def measured(self, units: np.ndarray, norm: Norm) -> np.ndarray:
        """Back again: distances in the view's coordinates (n,) as measured here."""
        return units / yardstick(norm, self.width)

    def nearest(
        self, x: np.ndarray, feature: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """For one example and each of `feature` (m,): the value with lower < value <= upper nearest to x that an input may
        have, whatever the other features are, and how far it is in the view's coordinates, inf where there is none.

        x: (features,) float32; lower, upper: (m,) float32, infinite where open. -> (m,) float32, (m,) float64
        """
        here = x[feature]
        value = np.where(here > upper, upper, np.where(here > lower, here, np.nextafter(lower, np.float32(np.inf))))
        there = (value >= self._ends[0]) & (value <= self._ends[1])
        return value, np.where(there, np.abs(value.astype(np.float64) - here), np.inf)

    def lengths(self, units: float, feature: np.ndarray) -> np.ndarray:
        """How long a change by `units` of each of `feature` (m,) is, in the view's coordinates. -> (m,)"""
        return np.full(len(feature), units)


def yardstick(norm: Norm, width: float) -> float:
    """What distances are measured in, in input units: the width of the domain, in L0 a feature."""
    return 1.0 if norm == "L0" else width


def in_widths(units: np.ndarray, width: float) -> np.ndarray:
    """(n,) distances in input units -> in widths of the domain, rounded up where float64 cannot hold the quotient."""
    if width == 1.0:
        return units
    quotients = units / width
    short = [
        Fraction(q) * Fraction(width) < Fraction(u) for q, u in zip(quotients.tolist(), units.tolist(), strict=True)
    ]
    return np.where(short, np.nextafter(quotients, np.inf), quotients)


def at_most(value: Fraction) -> float:
    """The largest float64 that is at most `value`."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else float(np.nextafter(nearest, -np.inf))


def root_at_most(square: Fraction) -> float:
    """The largest float64 that is at most the root of `square`."""
    scale = 1 << 80
    under = isqrt(square.numerator * square.denominator * scale * scale)
    return at_most(Fraction(under, square.denominator * scale))
