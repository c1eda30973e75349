"""Local search over which leaf of each tree holds the point.

Zhang, Zhang & Hsieh 2020, "An efficient adversarial attack for tree ensembles" (LT-Attack), algorithm 1: from a point of another class, exchange
the leaf of one tree for another one that meets the boxes of all the others, as long as the class stays and the nearest point of the
common box comes nearer. Our own: where no exchange helps, single features are moved back to x, which exchanges the leaves of
several trees at once; and the first points are random cells, brought nearer in blocks of features.
"""

from dataclasses import dataclass

import numpy as np

from auditor.attacks.trees.cells import Goal, Prices

TRIED_BACK = 64  # features that are moved back one by one, the dearest first
ROUNDS = 8  # of taking back blocks of features, each half as large
STEPS = 1000  # exchanges, more than were ever needed


@dataclass(frozen=True)
class Descent:
    """One example and one goal."""

    prices: Prices
    goal: Goal

    def from_cells(self, cells: np.ndarray) -> np.ndarray:
        """Cells (u,) that reach the goal -> cheaper ones that do."""
        for _ in range(STEPS):
            better = self._exchanged(cells)
            better = self._taken_back(cells) if better is None else better
            if better is None:
                break
            cells = better
        return cells

    def _exchanged(self, cells: np.ndarray) -> np.ndarray | None:
        """The cheapest of the neighbours that reach the goal, if it is cheaper."""
        grid, prices, goal = self.prices.grid, self.prices, self.goal
        seen = cells[grid.of]
        holds = np.logical_and.reduceat((seen >= grid.low) & (seen <= grid.high), grid.starts)
        own = np.flatnonzero(holds)
        low, high = self._without_each(holds)
        paid = prices.at(np.clip(prices.nearest(low, high), low, high))  # (trees, u)
        alone = paid.max(axis=1) if prices.norm == "Linf" else paid.sum(axis=1)
        lower = np.maximum(grid.low, low[grid.tree_of, grid.of])
        upper = np.minimum(grid.high, high[grid.tree_of, grid.of])
        nearest = prices.nearest(lower, upper, grid.of)
        inside = (lower <= nearest) & (nearest <= upper)
        meets = np.logical_and.reduceat(inside, grid.starts)
        price = prices.price[grid.first[grid.of] + np.where(inside, nearest, 0)]
        if prices.norm == "Linf":
            total = np.maximum(np.maximum.reduceat(price, grid.starts), alone[grid.trees.tree])
        else:
            total = alone[grid.trees.tree] + np.add.reduceat(price - paid[grid.tree_of, grid.of], grid.starts)
        margins = goal.base + goal.margin[own].sum(axis=0)
        after = margins - goal.margin[own][grid.trees.tree] + goal.margin
        good = meets & ~holds & (after.min(axis=1) > goal.doubt)
        total = np.where(good, total, np.inf)
        chosen = int(total.argmin())
        if not total[chosen] < prices.total(cells):
            return None
        tree = grid.trees.tree[chosen]
        box_low, box_high = low[tree].copy(), high[tree].copy()
        mine = grid.leaf_of == chosen
        box_low[grid.of[mine]], box_high[grid.of[mine]] = lower[mine], upper[mine]
        moved = prices.nearest(box_low, box_high)
        return moved if prices.total(moved) < prices.total(cells) else None

    def _without_each(self, holds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each tree the common box of all other trees' leaves: (trees, u) both, ends included."""
        grid = self.prices.grid
        trees, u = len(grid.trunks), len(grid.used)
        low, high = np.zeros((trees, u), np.int64), np.broadcast_to(grid.last, (trees, u)).copy()
        mine = holds[grid.leaf_of]
        low[grid.tree_of[mine], grid.of[mine]] = grid.low[mine]
        high[grid.tree_of[mine], grid.of[mine]] = grid.high[mine]
        if trees == 1:
            return np.zeros_like(low), np.broadcast_to(grid.last, (1, u)).copy()
        two_low, two_high = np.partition(low, trees - 2, axis=0)[-2:], np.partition(high, 1, axis=0)[:2]
        return np.where(low == two_low[1], two_low[0], two_low[1]), np.where(
            high == two_high[0], two_high[1], two_high[0]
        )

    def _taken_back(self, cells: np.ndarray) -> np.ndarray | None:
        """The cheapest of the points with one feature moved back that reach the goal, if it is cheaper."""
        prices = self.prices
        changed = np.flatnonzero(cells != prices.home)
        changed = changed[np.argsort(-prices.at(cells)[changed], kind="stable")[:TRIED_BACK]]
        if not len(changed):
            return None
        trial = np.repeat(cells[None], len(changed), axis=0)
        trial[np.arange(len(changed)), changed] = prices.home[changed]
        total = np.where(self.goal.reached(prices.grid, trial) > self.goal.doubt, prices.total(trial), np.inf)
        best = int(total.argmin())
        return trial[best] if total[best] < prices.total(cells) else None

    def begin(self, draws: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Random points that reach the goal, brought nearer. draws: (n, u) in [0, 1), which cell; order: (ROUNDS, u) in
        [0, 1), in which order features are taken back. (m, u), cheapest first."""
        prices, grid, goal = self.prices, self.prices.grid, self.goal
        cells = np.minimum((draws * (grid.last + 1)).astype(np.int64), grid.last)
        cells = prices.nearest(cells, cells)
        cells = np.where((cells >= 0) & (cells <= grid.last), cells, prices.home)
        cells = cells[goal.reached(grid, cells) > goal.doubt]
        if not len(cells):
            return cells
        for turn, places in enumerate(np.argsort(order, axis=1, kind="stable")):
            for block in np.array_split(places, min(2 << turn, len(places))):
                trial = cells.copy()
                trial[:, block] = prices.home[block]
                held = goal.reached(grid, trial) > goal.doubt
                cells = np.where(held[:, None], trial, cells)
        return cells[np.argsort(prices.total(cells), kind="stable")]
