"""Rows of a table: features with ranges, steps, directions, categories and relations between them.

Distances are measured in the declared scales: (x_adv - x) / scale per feature, and a category that changed counts as one
feature that moved by the group's cost. They are computed in rational numbers and rounded down to float64.

An attack sees changes in those units: x is the origin, and the classifier is asked about the row that a point stands for
(`_InTable.input`). Each number goes towards x until its range, its direction and its step are kept; a category
changes once one of its other columns has moved up by the whole cost, to the one that moved furthest; where a relation
is broken, its features come back as far as needed. So a row never lies further from x than the point that stands for it,
and any attack works, also one that knows nothing of categories. The gradient of a column of a category is what
exchanging it for the present one gains (straight through; Simonetto et al. 2024, "Constrained adaptive attack",
repair their points in the same spirit).
"""

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from auditor.attacks.attempt import safely_broken
from auditor.attacks.space import Space, View, at_most, root_at_most
from auditor.classifier import Array, Classifier, Evaluation
from auditor.data.rules import Halfspace, OneHot, Rules
from auditor.spec import NORMS, Loss, Norm

REACHED = 1 - 1e-5  # the share of a step or of a cost at which it counts as made: coordinates are float32
LOOKS = 7  # forwards of a bisection on the way back to x
TRIES = 16  # changes that are taken back one by one


class Table(Space):
    """Rows that keep the rules."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def view(self, classifier: Classifier, x: Array) -> View:
        return _InTable(classifier, x, self.rules)

    def admits(self, x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
        pairs = zip(_flat(x), _flat(x_adv), strict=True)
        return np.array([self.rules.admits(row, other) for row, other in pairs], dtype=bool)

    def distances(self, x: np.ndarray, x_adv: np.ndarray) -> Mapping[Norm, np.ndarray]:
        pairs = zip(_flat(x), _flat(x_adv), strict=True)
        found = [self._distances(row, other) for row, other in pairs]
        return {norm: np.array([one[norm] for one in found]) for norm in NORMS}

    def _distances(self, row: np.ndarray, other: np.ndarray) -> dict[Norm, float]:
        rules = self.rules
        moved = np.flatnonzero((row != other) & ~rules.grouped)
        changes = [abs(Fraction(float(other[i])) - Fraction(float(row[i]))) / rules.scale[i] for i in moved.tolist()]
        changes += [group.cost for group in rules.groups if (row != other)[group.columns].any()]
        return {
            "Linf": at_most(max(changes, default=Fraction(0))),
            "L2": root_at_most(sum((c * c for c in changes), Fraction(0))),
            "L1": at_most(sum(changes, Fraction(0))),
            "L0": float(len(changes)),
        }

    def reach(self, eps: Fraction, norm: Norm) -> float:
        return at_most(eps)

    def ceiling(self, found: np.ndarray, norm: Norm) -> np.ndarray:
        return found

    def measured(self, units: np.ndarray, norm: Norm) -> np.ndarray:
        return units

    def nearest(
        self, x: np.ndarray, feature: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Space.nearest`, of features that are in no category and no relation; those in a category stay as they
        are, which is all where it is immutable."""
        rules, here = self.rules, x[feature]
        spacing, step = rules.step[feature], rules.step[feature] > 0
        spacing = np.where(step, spacing, 1.0)
        up, down = here <= lower, here > upper
        value = np.where(down, upper, np.where(up, np.nextafter(lower, np.float32(np.inf)), here))
        begin = np.rint(np.where(np.isfinite(value), value, 0).astype(np.float64) / spacing)
        way = np.where(up, 1, -1)
        on_step = value
        for more in (2, 1, 0, -1):  # the multiple nearest to x that float32 puts on the right side
            trial = ((begin + more * way) * spacing).astype(np.float32)
            on_step = np.where((trial > lower) & (trial <= upper), trial, on_step)
        value = np.where(step & (up | down), on_step, value)
        there = (value > lower) & (value <= upper) & (value >= rules.lower[feature]) & (value <= rules.upper[feature])
        moved = value != here
        there &= ~moved | ~(rules.fixed[feature] | rules.grouped[feature])
        there &= ~moved | ((value - here) * rules.direction[feature] >= 0)
        there &= ~step | (((np.rint(value / spacing)) * spacing).astype(np.float32) == value)
        scale = np.array([float(rules.scale[f]) for f in feature.tolist()])
        return value, np.where(there, np.abs(value.astype(np.float64) - here) / scale, np.inf)

    def lengths(self, units: float, feature: np.ndarray) -> np.ndarray:
        return units / np.array([float(self.rules.scale[f]) for f in feature.tolist()])


def _flat(rows: np.ndarray) -> np.ndarray:
    """(n, *shape) -> (n, d), also for n = 0"""
    return rows.reshape(len(rows), prod(rows.shape[1:]))


class _InTable(View):
    def __init__(self, classifier: Classifier, x: Array, rules: Rules) -> None:
        xp, n = classifier.xp, x.shape[0]
        self.xp, self._rules, self._shape = xp, rules, x.shape
        self._home = x.reshape((n, -1)).astype(xp.float64)
        self._scale = xp.asarray([float(scale) for scale in rules.scale], dtype=xp.float64)[None, :]
        self._step = xp.asarray(rules.step)[None, :]
        fixed, direction = xp.asarray(rules.fixed)[None, :], xp.asarray(rules.direction)[None, :]
        lower, upper = (xp.asarray(ends, dtype=xp.float64)[None, :] for ends in (rules.lower, rules.upper))
        self._lower = xp.where(fixed | (direction > 0), self._home, lower)
        self._upper = xp.where(fixed | (direction < 0), self._home, upper)
        self._grouped = xp.asarray(rules.grouped)[None, :]
        self._groups = [_Category(xp, self._home, group) for group in rules.groups]
        self._relations = [_Relation(xp, self._home, relation, rules.grouped) for relation in rules.relations]
        super().__init__(_Asked(classifier, self), xp.zeros_like(x))

    def input(self, points: Array) -> Array:
        xp = self.xp
        changes = points.reshape(self._home.shape).astype(xp.float64)
        row = self._numbers(xp.clip(self._home + changes * self._scale, self._lower, self._upper))
        for group in self._groups:
            row = group.chosen(row, changes)
        return self._related(row).reshape(self._shape)

    def _numbers(self, moved: Array) -> Array:
        """float64 values inside the ranges -> float32 ones, on the steps, none further from x. (n, d), columns of
        categories as in x"""
        xp, home = self.xp, self._home
        rounded = moved.astype(xp.float32)
        too_far = xp.abs(rounded.astype(xp.float64) - home) > xp.abs(moved - home)
        value = xp.where(too_far, xp.nextafter(rounded, home.astype(xp.float32)), rounded)
        spacing = xp.where(self._step > 0, self._step, 1.0)
        steps = (moved - home) / spacing
        whole = xp.rint(steps)
        made = xp.abs(steps - whole) <= (1 - REACHED) * xp.maximum(xp.abs(steps) * 0.01, xp.ones_like(steps))
        steps = xp.where(made, whole, xp.trunc(steps))
        on_step = ((xp.rint(home / spacing) + steps) * spacing).astype(xp.float32)
        # An end of the range that is no multiple of the step can be passed by what REACHED gives away.
        inside = (on_step >= self._lower) & (on_step <= self._upper)
        on_step = xp.where(inside, on_step, home.astype(xp.float32))
        value = xp.where(self._step > 0, on_step, value)
        return xp.where(self._grouped | (moved == home), home.astype(xp.float32), value)

    def _related(self, row: Array) -> Array:
        """Bring features that break a relation back towards x; where that does not end it, all of them."""
        xp = self.xp
        if not self._relations:
            return row
        for relation in self._relations:
            back = relation.kept(row.astype(xp.float64))
            row = xp.where(relation.holds(row)[:, None] | self._grouped, row, self._numbers(back))
        held = xp.ones(row.shape[0], dtype=bool)
        for relation in self._relations:
            held = held & relation.holds(row)
        return xp.where(held[:, None], row, self._home.astype(xp.float32))

    def coordinates(self, inputs: Array) -> Array:
        xp = self.xp
        row = inputs.reshape(self._home.shape).astype(xp.float64)
        changes = xp.where(self._grouped, 0.0, (row - self._home) / self._scale)
        for group in self._groups:
            changes = group.moved(row, changes)
        return changes.astype(xp.float32).reshape(self._shape)

    def slope(self, points: Array, g: Array) -> Array:
        """The gradient at the input of each point -> at the point, zero where the point cannot go on that way."""
        xp = self.xp
        flat = g.reshape(self._home.shape)
        at = self._home + points.reshape(self._home.shape).astype(xp.float64) * self._scale
        free = xp.where(flat > 0, at < self._upper, at > self._lower) & ~self._grouped
        slope = xp.where(free, flat * self._scale, 0.0)
        for group in self._groups:
            slope = group.slope(flat, slope)
        return slope.astype(xp.float32).reshape(self._shape)

    def nearer(
        self, classifier: Classifier, inputs: Array, y: Array, norm: Norm, rows: Array, *, follow: bool
    ) -> Array:
        """Take back as many whole changes as can go, those first that gain least by the gradient of the margin for what
        they cost; then shrink what is left; then take back the largest that are left one by one. At most
        1 + 2 * LOOKS + TRIES forwards and one backward per row."""
        xp, n = self.xp, inputs.shape[0]
        changes = self.coordinates(inputs).reshape((n, -1))
        gain = xp.ones_like(changes)
        if follow:
            here = classifier.gradient(changes.reshape(self._shape), y, Loss.MARGIN, active=rows)
            rows, gain = rows & safely_broken(xp, here.logits, y), here.g.reshape((n, -1)) * xp.sign(changes)
        size = xp.abs(changes)
        worth = gain if norm == "L1" else gain * size if norm == "L0" else gain / xp.where(size > 0, size, 1.0)
        order = xp.argsort(xp.where(size > 0, worth, xp.float32(xp.inf)), axis=1, stable=True)
        rank = xp.argsort(order, axis=1, stable=True)
        search = _Retreat(self, classifier, y, rows, changes)
        count = xp.sum(size > 0, axis=1)
        search.bisect(lambda share: xp.where(rank < (share * count)[:, None], xp.float32(0), changes))
        left = search.changes
        most = xp.max(xp.abs(left), axis=1)

        def shrunk(share: Array) -> Array:
            keep = (1 - share)[:, None].astype(xp.float32)
            if norm == "Linf":
                return xp.clip(left, -keep * most[:, None], keep * most[:, None])
            return xp.where(self._grouped, left, left * keep)

        if norm != "L0":
            search.bisect(shrunk)
        largest = xp.argsort(-xp.abs(search.changes), axis=1, stable=True)[:, :TRIES]
        for place in range(largest.shape[1]):
            here = xp.arange(changes.shape[1])[None, :] == largest[:, place][:, None]
            search.see(xp.where(here, xp.float32(0), search.changes))
        return self.input(search.changes.reshape(self._shape))


class _Retreat:
    """Changes that become fewer and smaller while they break the row."""

    def __init__(self, view: _InTable, classifier: Classifier, y: Array, rows: Array, changes: Array) -> None:
        self.view, self.classifier, self.y, self.rows, self.changes = view, classifier, y, rows, changes
        self.xp = classifier.xp

    def see(self, trial: Array) -> Array:
        """Keep the changes `trial` (n, d) where they break the row too. (n,) bool"""
        xp = self.xp
        asked = self.rows & xp.any(trial != self.changes, axis=1)
        if not xp.any(asked):
            return asked
        logits = self.classifier.logits(trial.reshape(self.view.x.shape), active=asked)
        held = asked & safely_broken(xp, logits, self.y)
        self.changes = xp.where(held[:, None], trial, self.changes)
        return held

    def bisect(self, trial: Any) -> None:
        """trial: from shares (n,), 0 for what is known to hold, to changes."""
        xp, n = self.xp, self.changes.shape[0]
        low, high = xp.zeros(n), xp.ones(n)
        for _ in range(LOOKS):
            middle = (low + high) / 2
            held = self.see(trial(middle))
            low, high = xp.where(held, middle, low), xp.where(held, high, middle)


class _Category:
    """One group of columns, on every row."""

    def __init__(self, xp: Any, home: Array, group: OneHot) -> None:
        self.xp, self.columns, self.cost = xp, xp.asarray(group.columns), float(group.cost)
        self.own = xp.take(home, self.columns, axis=1) == 1
        self.immutable = group.immutable

    def chosen(self, row: Array, changes: Array) -> Array:
        """The rows with the category that the changes stand for."""
        xp = self.xp
        if self.immutable:
            return row
        other = xp.where(self.own, -xp.inf, xp.take(changes, self.columns, axis=1))
        best = xp.argmax(other, axis=1)[:, None] == xp.arange(self.columns.shape[0])[None, :]
        changed = xp.max(other, axis=1) >= self.cost * REACHED
        return self._put(row, xp.where(changed[:, None], best, self.own))

    def moved(self, row: Array, changes: Array) -> Array:
        """The changes that stand for the rows' categories."""
        new = (self.xp.take(row, self.columns, axis=1) == 1) & ~self.own
        return self._put(changes, new * self.cost)

    def slope(self, g: Array, slope: Array) -> Array:
        """What exchanging the present category for each other one gains, by its cost."""
        xp = self.xp
        if self.immutable:
            return slope
        here = xp.take(g, self.columns, axis=1).astype(xp.float64)
        present = xp.sum(xp.where(self.own, here, 0.0), axis=1)[:, None]
        return self._put(slope, xp.where(self.own, 0.0, (here - present) / self.cost))

    def _put(self, rows: Array, values: Array) -> Array:
        rows = rows.copy()
        rows[:, self.columns] = values.astype(rows.dtype)
        return rows


class _Relation:
    """One relation, on every row. Numbers move back along the straight way to x, which keeps it."""

    def __init__(self, xp: Any, home: Array, relation: Halfspace, grouped: np.ndarray) -> None:
        self.xp, self.home, self._relation = xp, home, relation
        self.columns, self.factors = xp.asarray(relation.columns), xp.asarray(relation.factors)[None, :]
        self.numbers = xp.asarray(~grouped[relation.columns])[None, :]

    def holds(self, row: Array) -> Array:
        """(n, d) -> (n,) bool; a sum within rounding of the end does not hold."""
        xp = self.xp
        terms = xp.take(row, self.columns, axis=1).astype(xp.float64) * self.factors
        slack = 1e-15 * len(self.columns) * xp.sum(xp.abs(terms), axis=1)
        exact = xp.all(terms == xp.rint(terms), axis=1) & (xp.sum(xp.abs(terms), axis=1) < 2**52)
        return xp.sum(terms, axis=1) + xp.where(exact, 0.0, slack) <= self._relation.at_most

    def kept(self, row: Array) -> Array:
        """Rows whose numbers are brought back so far that the relation holds, if they alone can do it. (n, d) float64"""
        xp = self.xp
        now, home = (xp.take(rows, self.columns, axis=1) for rows in (row, self.home))
        gone = xp.sum(xp.where(self.numbers, (now - home) * self.factors, 0.0), axis=1)
        over = xp.sum(now * self.factors, axis=1) - self._relation.at_most
        share = xp.where((gone > 0) & (over > 0), xp.clip(1 - over / xp.where(gone > 0, gone, 1.0), 0.0, 1.0), 1.0)
        back = xp.where(self.numbers, home + (now - home) * (share * (1 - 1e-6))[:, None], now)
        row = row.copy()
        row[:, self.columns] = back
        return row


class _Asked:
    """A classifier of the rows that points stand for."""

    domain: tuple[float, float] | None = None

    def __init__(self, classifier: Classifier, view: _InTable) -> None:
        self._classifier, self._view = classifier, view
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        return self._classifier.logits(self._view.input(x), active=active)

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        here = self._classifier.gradient(self._view.input(x), y, loss, target=target, active=active)
        return Evaluation(here.logits, here.loss, self._view.slope(x, here.g))
