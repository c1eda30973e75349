"""A sum of trees as a finite problem: thresholds cut every feature into cells, in which nothing changes.

For one example each cell has one point that is nearest to it, and a price. What an attack looks for is a cell for each
feature, so that the leaves that hold them give another class, at the least price: in L1 the sum of the features' prices,
in L2 that of their squares, in L0 how many differ, in Linf the largest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from auditor.graph.trees import Trees, chunks
from auditor.spec import Norm

# (feature, lower, upper), all (cells,): the values nearest to x with lower < value <= upper that an input may have, and how
# far they are from x; inf where there is none.
Reach = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Grid:
    """Trees whose conditions are ranges of cells.

    used: (u,) the features that are asked about; first: (u + 1,) where each one's cells begin among all of them;
    of: (conditions,) its position in `used`; low, high: (conditions,) the cells that hold, both ends included; leaf_of,
    tree_of: (conditions,); starts: (leaves,) the first condition of a leaf; trunks: (trees,) the first leaf of a tree.
    """

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        self.used, self.of = np.unique(trees.feature, return_inverse=True)
        ends = [np.empty(0, np.float32)] * len(self.used)
        order = np.argsort(self.of, kind="stable")
        bounds = np.searchsorted(self.of[order], np.arange(len(self.used) + 1))
        for u in range(len(self.used)):
            mine = order[bounds[u] : bounds[u + 1]]
            cuts = np.unique(np.concatenate([trees.lower[mine], trees.upper[mine]]))
            ends[u] = cuts[np.isfinite(cuts)]
        self.cuts = ends
        self.first = np.concatenate([[0], np.cumsum([len(cuts) + 1 for cuts in ends])])
        self.low, self.high = np.empty(len(self.of), np.int64), np.empty(len(self.of), np.int64)
        for u, cuts in enumerate(ends):
            mine = order[bounds[u] : bounds[u + 1]]
            self.low[mine] = np.where(trees.lower[mine] == -np.inf, 0, np.searchsorted(cuts, trees.lower[mine]) + 1)
            self.high[mine] = np.searchsorted(cuts, trees.upper[mine])
        self.leaf_of = trees.leaf
        self.tree_of = trees.tree[trees.leaf]
        self.starts = np.searchsorted(trees.leaf, np.arange(len(trees.tree)))
        self.trunks = np.searchsorted(trees.tree, np.arange(trees.count))
        self.last = np.diff(self.first) - 1
        infinite = np.array([np.inf], np.float32)
        self.lower = np.concatenate([np.concatenate([-infinite, cuts]) for cuts in ends])
        self.upper = np.concatenate([np.concatenate([cuts, infinite]) for cuts in ends])
        self.feature = np.repeat(self.used, np.diff(self.first))

    def home(self, x: np.ndarray) -> np.ndarray:
        """(features,) -> (u,) the cells that hold it"""
        return np.array([np.searchsorted(cuts, x[f]) for f, cuts in zip(self.used.tolist(), self.cuts, strict=True)])


@dataclass(frozen=True)
class Prices:
    """One example. home: (u,) its cells; value: (cells,) float32, the nearest point of each cell; price: (cells,)
    float64, inf where a cell cannot be reached; outward: (cells,) the cell of the same feature that is the first to be
    reached on the way from home through this one, -1 or the number of its cells where none is.
    """

    grid: Grid
    norm: Norm
    x: np.ndarray
    home: np.ndarray
    value: np.ndarray
    price: np.ndarray
    outward: np.ndarray

    @classmethod
    def of(cls, grid: Grid, norm: Norm, x: np.ndarray, reach: Reach) -> "Prices":
        """x: (features,) float32."""
        home = grid.home(x)
        value, cost = reach(grid.feature, grid.lower, grid.upper)
        own = grid.first[:-1] + home
        value[own], cost[own] = x[grid.used], 0.0
        if norm == "L0":
            cost = np.where(np.isfinite(cost) & (cost > 0), 1.0, cost)
        price = cost * cost if norm == "L2" else cost
        return cls(grid, norm, x, home, value, price, _outward(grid, home, np.isfinite(price)))

    def nearest(self, low: np.ndarray, high: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
        """The cheapest cells that can be reached between two ends (…, m), both included, of features `of` (m,), all unless given;
        a cell outside them where there is none. Where low > high too."""
        home, first = (self.home, self.grid.first[:-1]) if of is None else (self.home[of], self.grid.first[of])
        return self.outward[first + np.clip(home, low, np.maximum(low, high))]

    def at(self, cells: np.ndarray) -> np.ndarray:
        """The price of each feature's cell. (…, u) -> (…, u)"""
        return self.price[self.grid.first[:-1] + cells]

    def total(self, cells: np.ndarray) -> np.ndarray:
        """(…, u) -> (…,)"""
        prices = self.at(cells)
        return prices.max(axis=-1) if self.norm == "Linf" else prices.sum(axis=-1)

    def point(self, cells: np.ndarray) -> np.ndarray:
        """(u,) -> (features,) float32"""
        x = self.x.copy()
        x[self.grid.used] = self.value[self.grid.first[:-1] + cells]
        return x

    def from_distance(self, distance: float) -> float:
        """The price of a distance."""
        return distance * distance if self.norm == "L2" else distance

    def to_distance(self, total: float) -> float:
        return float(np.sqrt(total)) if self.norm == "L2" else total


def _outward(grid: Grid, home: np.ndarray, reachable: np.ndarray) -> np.ndarray:
    cells = np.arange(len(reachable)) - np.repeat(grid.first[:-1], np.diff(grid.first))
    beyond = np.repeat(grid.last + 1, np.diff(grid.first))
    result = np.where(reachable, cells, -1)
    for u, (first, last) in enumerate(zip(grid.first[:-1].tolist(), grid.first[1:].tolist(), strict=True)):
        at = first + int(home[u])
        result[first:at] = np.maximum.accumulate(result[first:at])
        above = np.where(reachable[at:last], cells[at:last], beyond[at])
        result[at:last] = np.minimum.accumulate(above[::-1])[::-1]
    return result


@dataclass(frozen=True)
class Goal:
    """What scores have to reach: every margin above 0. margin: (leaves, m) what a leaf adds to each; base: (m,); doubt: how
    far a sum may be off."""

    margin: np.ndarray
    base: np.ndarray
    doubt: float

    @classmethod
    def ahead(cls, trees: Trees, wanted: int, of: np.ndarray | list[int]) -> "Goal":
        """Class `wanted` ahead of the classes `of`."""
        return cls(
            trees.value[:, [wanted]] - trees.value[:, of],
            trees.offset[[wanted]] - trees.offset[of],
            2 * trees.rounding,
        )

    def reached(self, grid: Grid, cells: np.ndarray) -> np.ndarray:
        """The least margin at points, a few at a time. (n, u) -> (n,)"""
        least = np.empty(len(cells))
        for rows in chunks(len(cells), len(grid.of)):
            seen = cells[rows][:, grid.of]
            held = np.logical_and.reduceat((seen >= grid.low) & (seen <= grid.high), grid.starts, axis=1)
            least[rows] = (self.base + held @ self.margin).min(axis=1)
        return least
