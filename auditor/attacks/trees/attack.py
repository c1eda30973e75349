"""The two attacks on sums of trees: a local search, and the search that is exact where it ends.

They move inputs, not points of a view: next to a threshold one rounding more would be one too many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from auditor import runtime
from auditor.attacks.attempt import Attempt, margin
from auditor.attacks.norms import per_row
from auditor.attacks.random import Random
from auditor.attacks.space import Space
from auditor.attacks.trees.branch import Branching
from auditor.attacks.trees.cells import Goal, Grid, Prices
from auditor.attacks.trees.leaves import ROUNDS, Descent
from auditor.classifier import Array, Classifier
from auditor.graph.trees import Trees
from auditor.spec import Norm

ASKED = 4  # doubtful points per example that the model is asked about
_SHORT = 1 - 1e-6  # of a radius: more than sums of prices round


@dataclass(frozen=True)
class Proof(Attempt):
    """An attempt that proves something as well. radius: (n,) float64, in the units of the ceiling: no input within it
    gives another class; 0 where nothing is proved, inf where there is no such input at all."""

    radius: np.ndarray


@dataclass(frozen=True)
class Forest:
    """What these attacks know: the trees, cut into cells, and the space that inputs live in."""

    grid: Grid
    space: Space

    @classmethod
    def of(cls, trees: Trees, space: Space) -> "Forest":
        return cls(Grid(trees), space)

    def prices(self, x: np.ndarray, norm: Norm) -> Prices:
        """x: (features,) float32, an input."""
        return Prices.of(self.grid, norm, x, lambda *cells: self.space.nearest(x, *cells))

    def goals(self, y: int, target: int | None) -> list[Goal]:
        """Reaching one of them is enough: any class ahead of the label, or the target ahead of all."""
        trees = self.grid.trees
        classes = np.arange(trees.value.shape[1])
        if target is not None:
            return [Goal.ahead(trees, target, classes[classes != target])]
        return [Goal.ahead(trees, k, [y]) for k in classes.tolist() if k != y]

    def radius(self, prices: Prices, proved: float) -> float:
        """The distance within which nothing is, where nothing is cheaper than `proved`; whatever a scaler before the trees
        rounds."""
        grid, x, slack = self.grid, prices.x, self.grid.trees.slack
        own = grid.first[:-1] + prices.home
        here = x[grid.used]
        if slack and ((here - grid.lower[own] <= slack) | (grid.upper[own] - here <= slack)).any():
            return 0.0
        if proved == np.inf:
            return np.inf
        if prices.norm == "L0":
            return max(float(np.ceil(proved)) - 1, 0.0)
        moved = self.space.lengths(slack, grid.used)
        moved_by = {"Linf": moved.max(), "L2": np.sqrt((moved * moved).sum()), "L1": moved.sum()}[prices.norm]
        return max(prices.to_distance(proved) * _SHORT - float(moved_by), 0.0)


def leaf_tuples(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm,
    rng: Random,
    forest: Forest,
    target: Array | None = None,
    active: Array | None = None,
    draws: int = 64,
    kept: int = 3,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32 inputs, y: (n,) int64, ceiling: (n,) float64, inf where no point is known.

    forest: the trees that `classifier` is the sum of; target: (n,) the class that has to be reached, None where any will do.
    draws: random points per example and class that the search may begin at; kept: how many of them it goes on from;
    start: (n, *shape), one more to begin at. One forward per example. Source: see `auditor.attacks.trees.leaves`.
    """
    grid, of_start = forest.grid, None if start is None else _flat(start)
    random = runtime.to_host(rng.uniform(0, (draws + ROUNDS, len(grid.used)))).astype(np.float64)

    def search(row: int, prices: Prices, goals: Sequence[Goal], below: float) -> np.ndarray | None:
        best = None
        for goal in goals:
            descent = Descent(prices, goal)
            first = list(descent.begin(random[row, :draws], random[row, draws:])[:kept])
            if of_start is not None:
                cells = grid.home(of_start[row])
                if np.isfinite(prices.total(cells)) and goal.reached(grid, cells[None])[0] > goal.doubt:
                    first.append(cells)
            for cells in map(descent.from_cells, first):
                if (total := float(prices.total(cells))) < below:
                    below, best = total, cells
            climbed = descent.climbed(below)
            if climbed is not None and (total := float(prices.total(climbed))) < below:
                below, best = total, climbed
        return best

    searched = _Searched(classifier, forest, x, y, norm)
    return searched.asked(searched.rows(search, ceiling, target, active))


def tree_search(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm,
    rng: Random,
    forest: Forest,
    target: Array | None = None,
    active: Array | None = None,
    visits: int = 3_000_000,
) -> Proof:
    """As `leaf_tuples`; visits: how many conditions of leaves may be looked at per example, in all boxes together.

    Where they suffice, nothing is nearer than the ceiling or the point that is given, but for sums that rounding decides:
    such points are nearer than the radius, and the model is asked about up to ASKED of them. The radius counts
    in any case. Source: see `auditor.attacks.trees.branch`.
    """
    radius = np.zeros(x.shape[0])
    doubtful: list[list[np.ndarray]] = [[] for _ in range(x.shape[0])]

    def search(row: int, prices: Prices, goals: Sequence[Goal], below: float) -> np.ndarray | None:
        best, proved, left = None, np.inf, visits
        unsure: list[tuple[float, np.ndarray]] = []
        for place, goal in enumerate(goals):
            branching = Branching(prices, goal, left // (len(goals) - place))
            left -= branching.left
            answer = branching.nearest(below)
            left += branching.left
            below, proved = answer.total, min(proved, answer.proved)
            best = best if answer.cells is None else answer.cells
            unsure += answer.doubtful
        radius[row] = forest.radius(prices, proved)
        cheaper = sorted((one for one in unsure if one[0] < below), key=lambda one: one[0])
        doubtful[row] = [cells for _, cells in cheaper[:ASKED]]
        return best

    searched = _Searched(classifier, forest, x, y, norm)
    found = searched.asked(searched.rows(search, ceiling, target, active))
    for turn in reversed(range(ASKED)):  # the nearest last, so that it is the one that stays
        points = [cells[turn] if turn < len(cells) else None for cells in doubtful]
        if any(cells is not None for cells in points):
            found = _where(classifier, searched.asked(points), found)
    return Proof(found.x_adv, found.found, found.loss, radius)


class _Searched:
    """n examples, one after the other."""

    def __init__(self, classifier: Classifier, forest: Forest, x: Array, y: Array, norm: Norm) -> None:
        self.classifier, self.forest, self.x, self.y, self.norm = classifier, forest, x, y, norm
        self._flat = _flat(x)

    def rows(
        self,
        search: Callable[[int, Prices, Sequence[Goal], float], np.ndarray | None],
        ceiling: Array,
        target: Array | None,
        active: Array | None,
    ) -> list[np.ndarray | None]:
        """search(row, prices, goals, price of the ceiling) of every active row."""
        n = self.x.shape[0]
        todo = np.ones(n, dtype=bool) if active is None else runtime.to_host(active)
        labels, ceilings = runtime.to_host(self.y), runtime.to_host(ceiling)
        targets = None if target is None else runtime.to_host(target)
        found: list[np.ndarray | None] = [None] * n
        for row in np.flatnonzero(todo).tolist():
            prices = self.forest.prices(self._flat[row], self.norm)
            goals = self.forest.goals(int(labels[row]), None if targets is None else int(targets[row]))
            found[row] = search(row, prices, goals, prices.from_distance(float(ceilings[row])))
        return found

    def asked(self, found: Sequence[np.ndarray | None]) -> Attempt:
        """What the model says of the nearest points of these cells, one forward each."""
        xp = self.classifier.xp
        points, there = self._flat.copy(), np.array([cells is not None for cells in found], dtype=bool)
        for row, cells in enumerate(found):
            if cells is not None:
                prices = self.forest.prices(self._flat[row], self.norm)
                points[row] = prices.point(cells)
        x_adv, rows = xp.asarray(points.reshape(self.x.shape)), xp.asarray(there)
        gap = margin(xp, self.classifier.logits(x_adv, active=rows), self.y)
        gap = xp.where(rows, gap, xp.float32(-np.inf))
        broken = gap > 0
        return Attempt(xp.where(per_row(broken, self.x), x_adv, self.x), broken, gap)


def _flat(x: Array) -> np.ndarray:
    """(n, *shape) -> (n, features)"""
    rows = runtime.to_host(x)
    return rows.reshape(len(rows), -1)


def _where(classifier: Classifier, one: Attempt, other: Attempt) -> Attempt:
    """The first attempt's points where it found any, else the other's."""
    xp, found = classifier.xp, one.found
    x_adv = xp.where(per_row(found, one.x_adv), one.x_adv, other.x_adv)
    return Attempt(x_adv, found | other.found, xp.where(found, one.loss, other.loss))
