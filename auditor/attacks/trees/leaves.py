"""Local search over which leaf of each tree holds the point.

Zhang, Zhang & Hsieh 2020, "An efficient adversarial attack for tree ensembles" (LT-Attack), algorithm 1: from a point of another class, exchange
the leaf of one tree for another one that meets the boxes of all the others, as long as the class stays and the nearest point of the
common box comes nearer. Our own: where no exchange helps, single features are moved back to x, which exchanges the leaves of
several trees at once; first points are random cells, brought nearer in blocks of features, and points that are climbed to from x
inside ever smaller balls, leaf after leaf, which finds what many small changes together do.
"""

from dataclasses import dataclass

import numpy as np

from auditor.attacks.trees.cells import Goal, Prices

LOOKED_AT = 64  # leaves, those with the largest promise, whose true gain is computed
FEATURES = 128  # that are moved as far as can be, one by one
BISECTIONS = 8  # of the price below which points are climbed to from x
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

    def climbed(self, below: float) -> np.ndarray | None:
        """The cheapest point that climbing from x leads to, below ever smaller prices; None where it leads to none."""
        best, low, high = None, 0.0, below
        for _ in range(BISECTIONS):
            ceiling = high if high == np.inf else (low + high) / 2
            cells = self._climb(ceiling)
            if cells is None:
                low = ceiling
                if ceiling == np.inf:
                    break
                continue
            best = self.from_cells(cells)
            high = float(self.prices.total(best))
        return best

    def _climb(self, ceiling: float) -> np.ndarray | None:
        """Step by step into the leaf that gains most, in Linf, else most for what it costs; every point below the ceiling."""
        prices, grid, goal = self.prices, self.prices.grid, self.goal
        cells = prices.home
        least = float(goal.reached(grid, cells[None])[0])
        farthest = self._farthest(ceiling) if prices.norm == "Linf" else ()
        for _ in range(STEPS):
            if least > goal.doubt:
                return cells
            trial = self._into_leaves(cells)
            for end in farthest:
                apart = np.flatnonzero(cells != end)[:FEATURES]
                moved = np.repeat(cells[None], len(apart), axis=0)
                moved[np.arange(len(apart)), apart] = end[apart]
                trial = np.concatenate([trial, moved])
            total = prices.total(trial)
            trial, total = trial[total < ceiling], total[total < ceiling]
            if not len(trial):
                return None
            margins = goal.reached(grid, trial)
            gain = margins - least
            worth = gain if prices.norm == "Linf" else gain / np.maximum(total - prices.total(cells), 1e-12)
            chosen = int(np.where(gain > 0, np.where(margins > goal.doubt, np.inf, worth), -np.inf).argmax())
            if gain[chosen] <= 0:
                return None
            cells, least = trial[chosen], float(margins[chosen])
        return None

    def _farthest(self, ceiling: float) -> tuple[np.ndarray, np.ndarray]:
        """Per feature the lowest and the highest cell below the ceiling. (u,) both"""
        prices, grid = self.prices, self.prices.grid
        near = np.flatnonzero(prices.price < ceiling)
        of = np.repeat(np.arange(len(grid.used)), np.diff(grid.first))[near]
        cells = near - grid.first[of]
        low, high = np.full(len(grid.used), len(prices.price)), np.zeros(len(grid.used), dtype=np.int64)
        np.minimum.at(low, of, cells)
        np.maximum.at(high, of, cells)
        return low, high

    def _into_leaves(self, cells: np.ndarray) -> np.ndarray:
        """Points that are moved as little as can be into the leaves that promise most. (LOOKED_AT at most, u)"""
        grid, goal = self.prices.grid, self.goal
        seen = cells[grid.of]
        holds = np.logical_and.reduceat((seen >= grid.low) & (seen <= grid.high), grid.starts)
        worst = int((goal.base + goal.margin[holds].sum(axis=0)).argmin())
        worth = goal.margin[:, worst]
        promise = np.where(holds, -np.inf, worth - worth[holds][grid.trees.tree])
        price = self.prices.price[grid.first[grid.of] + np.clip(seen, grid.low, grid.high)]
        promise[np.maximum.reduceat(price, grid.starts) == np.inf] = -np.inf
        chosen = np.argsort(-promise, kind="stable")[:LOOKED_AT]
        chosen = chosen[promise[chosen] > 0]
        trial = np.repeat(cells[None], len(chosen), axis=0)
        ends = np.append(grid.starts, len(grid.of))
        for row, leaf in enumerate(chosen.tolist()):
            mine = slice(ends[leaf], ends[leaf + 1])
            trial[row, grid.of[mine]] = np.clip(cells[grid.of[mine]], grid.low[mine], grid.high[mine])
        return trial

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
