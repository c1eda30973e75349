"""Inputs in whole levels: images of 8 bits, readings of a 12-bit converter.

The domain holds 2^bits evenly spaced levels, its ends among them, and a feature is always at one. Distances are
sums of whole numbers of levels, so that nothing is lost to rounding before the one division at the end.

An attack sees the classifier behind rounding to the nearest level, with the gradient at the rounded point (straight
through, Bengio et al. 2013): it then knows of each point what the input that is made of it does. Rounding moves about
a twelfth of a squared level per feature, which counts in L2 and L1 but buys nothing; `nearer` takes back the single
levels that pay least.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from auditor.attacks.attempt import safely_broken
from auditor.attacks.norms import per_row
from auditor.attacks.space import AtInputs, Space, View, at_most, root_at_most
from auditor.classifier import Array, Classifier
from auditor.data.domain import Box, level_of, level_values
from auditor.spec import NORMS, Loss, Norm

ROUNDS = 3  # how often the order in which levels are taken back is drawn up anew
LOOKS = 8  # forwards per round, to see how many can go


class Levels(Space):
    """Inputs that are at one of 2^bits levels of the domain in every feature. Distances are rounded down to float64, so
    that k levels lie within an eps of k/(2^bits - 1) widths."""

    def __init__(self, domain: Box, bits: int) -> None:
        super().__init__(domain)
        self.domain, self.values = domain, level_values(domain, 1 << bits)
        self.steps = len(self.values) - 1

    def view(self, classifier: Classifier, x: Array) -> View:
        return _OnLevels(classifier, x, self)

    def level(self, xp: Any, x: Array) -> Array:
        """The level nearest to each value, int64."""
        return xp.clip(level_of(xp, x, self.domain, self.steps), 0, self.steps)

    def admits(self, x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
        known = np.where(np.isfinite(x_adv), x_adv, np.float32(0))
        return np.all((self.values[self.level(np, known)] == x_adv).reshape(len(x_adv), -1), axis=1)

    def distances(self, x: np.ndarray, x_adv: np.ndarray) -> Mapping[Norm, np.ndarray]:
        finite = np.where(np.isfinite(x_adv), x_adv, x)
        moved = np.abs(self.level(np, finite) - self.level(np, x)).reshape(len(x), -1)
        return {norm: np.array([self._distance(row, norm) for row in moved]) for norm in NORMS}

    def _distance(self, moved: np.ndarray, norm: Norm) -> float:
        """moved: (d,) levels."""
        if norm == "L0":
            return float(np.count_nonzero(moved))
        if norm == "Linf":
            return at_most(Fraction(int(moved.max()), self.steps))
        if norm == "L1":
            return at_most(Fraction(int(moved.sum()), self.steps))
        return root_at_most(Fraction(int(np.sum(moved * moved)), self.steps**2))

    def reach(self, eps: Fraction, norm: Norm) -> float:
        """As in `Space.reach`; in Linf whole levels."""
        if norm == "L0":
            return float(eps)
        levels = eps * self.steps
        if norm == "Linf" or levels < 1:
            levels = Fraction(levels.__floor__())
        return float(levels * Fraction(self.width) / self.steps)

    def ceiling(self, found: np.ndarray, norm: Norm) -> np.ndarray:
        """As in `Space.ceiling`; in Linf what is rounded to fewer levels."""
        if norm != "Linf":
            return super().ceiling(found, norm)
        return np.maximum(found * self.steps - 0.5, 0.0) * (self.width / self.steps)

    def nearest(
        self, x: np.ndarray, feature: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        here, last = x[feature], self.steps
        first = np.searchsorted(self.values, lower, side="right")  # the levels that lie between, both ends included
        final = np.searchsorted(self.values, upper, side="right") - 1
        value = self.values[np.clip(np.where(here > upper, final, first), 0, last)]
        value = np.where((here > lower) & (here <= upper), here, value)
        return value, np.where(first <= final, np.abs(value.astype(np.float64) - here), np.inf)


class _OnLevels(View):
    def __init__(self, classifier: Classifier, x: Array, levels: Levels) -> None:
        super().__init__(AtInputs(classifier, self), x)
        self.xp, self._levels = classifier.xp, levels
        self._values = self.xp.asarray(levels.values)

    def input(self, points: Array) -> Array:
        return self._values[self._levels.level(self.xp, points)]

    def nearer(
        self, classifier: Classifier, inputs: Array, y: Array, norm: Norm, rows: Array, *, follow: bool
    ) -> Array:
        """By rounds: order the levels that were moved by what they gain for what they cost, by the gradient of the margin,
        and bisect for how many of the worst can be taken back; in Linf, for by how many levels the largest changes can
        be cut. Without gradients every level gains the same. At most ROUNDS * (LOOKS + 1) forwards and ROUNDS backwards
        per row."""
        xp, n = self.xp, inputs.shape[0]
        home = self._levels.level(xp, self.x).reshape((n, -1))
        for _ in range(ROUNDS):
            moved = self._levels.level(xp, inputs).reshape((n, -1)) - home
            gain = xp.abs(xp.sign(moved))
            if follow and norm != "Linf":
                here = classifier.gradient(inputs, y, Loss.MARGIN, active=rows)
                rows, gain = rows & safely_broken(xp, here.logits, y), here.g.reshape((n, -1)) * xp.sign(moved)
            retreat = _Retreat(xp, moved, gain, norm)
            low, high = xp.zeros(n, dtype=xp.int64), retreat.longest
            for _ in range(LOOKS):
                trying = rows & (high - low > 1)
                if not xp.any(trying):
                    break
                middle = (low + high) // 2
                trial = self._values[home + retreat.by(middle)].reshape(inputs.shape)
                held = trying & safely_broken(xp, classifier.logits(trial, active=trying), y)
                inputs = xp.where(per_row(held, inputs), trial, inputs)
                low, high = xp.where(held, middle, low), xp.where(trying & ~held, middle, high)
            rows = rows & (low > 0)
            if not xp.any(rows):
                break
        return inputs


class _Retreat:
    """Ways back to x in whole levels, ever further: by(m) is `moved` after m steps, 0 <= m < longest.

    gain: (n, d), what each level of a feature gains; in Linf all features keep within ever fewer levels.
    """

    def __init__(self, xp: Any, moved: Array, gain: Array, norm: Norm) -> None:
        self.xp, self.moved, self.norm = xp, moved, norm
        size = xp.abs(moved)
        if norm == "Linf":
            self.largest = self.longest = xp.max(size, axis=1)
            return
        if norm == "L0":
            gain = gain * size
        cost = xp.maximum(2 * size - 1, xp.ones_like(size)) if norm == "L2" else xp.ones_like(size)
        worth = xp.where(moved != 0, gain / cost, xp.inf)
        self.rank = xp.argsort(xp.argsort(worth, axis=1, stable=True), axis=1, stable=True)
        self.longest = xp.sum(moved != 0, axis=1) + 1

    def by(self, steps: Array) -> Array:
        """(n,) int64 -> (n, d) int64"""
        xp, moved = self.xp, self.moved
        if self.norm == "Linf":
            most = (self.largest - steps)[:, None]
            return xp.clip(moved, -most, most)
        back = moved if self.norm == "L0" else xp.sign(moved)
        return xp.where(self.rank < steps[:, None], moved - back, moved)
