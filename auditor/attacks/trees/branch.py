"""Branch and bound over boxes of cells: the nearest point of another class, or the proof that none is nearer.

Kantchelian, Tygar & Joseph 2016, "Evasion and hardening of tree ensemble classifiers", put the same question as a
mixed-integer program. Here a box is bounded from above by the sum of each tree's best leaf among those that the box meets at a price
below the best known (after Chen et al. 2019, "Robustness verification of tree-based models", where trees are bounded
in groups); it is cut in two where the best leaves disagree most with the box's nearest point.
"""

from dataclasses import dataclass

import numpy as np

from auditor.attacks.trees.cells import Goal, Prices

WIDTH = 64  # boxes that are looked at together
ELEMENTS = 400_000  # and conditions at once, so that arrays stay small
BISECTIONS = 6


@dataclass(frozen=True)
class Answer:
    """total: the least price found, or what was given; cells: where, None where nothing was found below what was given;
    proved: no point that reaches the goal is cheaper than this; doubtful: points cheaper than `total` at which rounding
    decides, by price."""

    total: float
    cells: np.ndarray | None
    proved: float
    doubtful: tuple[tuple[float, np.ndarray], ...] = ()


class Branching:
    """One example and one goal. visits: how many (box, condition) pairs may be looked at; what is left of them."""

    def __init__(self, prices: Prices, goal: Goal, visits: int) -> None:
        self.prices, self.grid, self.goal, self.left = prices, prices.grid, goal, visits
        self.largest = prices.norm == "Linf"
        grid = self.grid
        self._at = grid.first[grid.of]
        self._width = max(1, min(WIDTH, ELEMENTS // len(grid.of)))
        self.doubtful: dict[bytes, tuple[float, np.ndarray]] = {}

    def nearest(self, below: float) -> Answer:
        """The cheapest point that reaches the goal, if one is cheaper than `below`; where the visits do not suffice, what
        was found and what smaller price was proved."""
        budget, best = self.left, None
        self.left = budget // 2
        total, cells, finished = self.search(below)
        best = cells
        self.left += budget - budget // 2
        if finished:
            return self._answer(total, best, total)
        low, high = 0.0, total
        share = self.left // BISECTIONS
        for _ in range(BISECTIONS):
            middle = self._middle(low, high)
            if middle is None or self.left <= 0:
                break
            spare, self.left = self.left - share, share
            found, cells, finished = self.search(middle)
            self.left += max(spare, 0)
            if cells is not None:
                total, best = found, cells
            low, high = (found, high) if finished else (low, middle)
            high = min(high, total)
            if finished and cells is not None:
                return self._answer(total, best, total)
        return self._answer(total, best, low)

    def _middle(self, low: float, high: float) -> float | None:
        """Between both; whole in L0; None where nothing is."""
        if self.prices.norm == "L0":
            middle = np.ceil((low + min(high, len(self.grid.used) + 1.0)) / 2)
            return float(middle) if low < middle < high else None
        if high == np.inf:
            high = float(self.prices.total(self.grid.last))
            high = high if np.isfinite(high) else 1.0
        if self.prices.norm == "L2":
            return ((low**0.5 + high**0.5) / 2) ** 2
        return (low + high) / 2

    def _answer(self, total: float, cells: np.ndarray | None, proved: float) -> Answer:
        doubtful = sorted((d for d in self.doubtful.values() if d[0] < total), key=lambda d: d[0])
        cheapest = min((d[0] for d in doubtful), default=np.inf)
        return Answer(total, cells, min(proved, cheapest), tuple(doubtful))

    def search(self, below: float, *, first: bool = False) -> tuple[float, np.ndarray | None, bool]:
        """Depth first, the best leaves' side first. The least price found, where, and whether all was looked at. first: end
        with the first find."""
        best: np.ndarray | None = None
        u = len(self.grid.used)
        stack = [(np.zeros((1, u), np.int64), self.grid.last[None].astype(np.int64))]
        while stack:
            low, high = stack.pop()
            if len(low) > self._width:
                stack.append((low[: -self._width], high[: -self._width]))
                low, high = low[-self._width :], high[-self._width :]
            if self.left <= 0:
                return below, best, False
            self.left -= len(low) * len(self.grid.of)
            below, cells, children = self._look(low, high, below)
            best = best if cells is None else cells
            if first and best is not None:
                return below, best, False
            if len(children[0]):
                stack.append(children)
        return below, best, True

    def _look(
        self, low: np.ndarray, high: np.ndarray, below: float
    ) -> tuple[float, np.ndarray | None, tuple[np.ndarray, np.ndarray]]:
        """Bound boxes (n, u), both ends included; gives what is left to look at, the most promising last."""
        grid, goal, prices = self.grid, self.goal, self.prices
        near = prices.nearest(low, high)
        there = (near >= low) & (near <= high)
        near = np.where(there, near, prices.home)
        paid = np.where(there, prices.at(near), np.inf)
        total = paid.max(axis=1) if self.largest else paid.sum(axis=1)
        lower, upper = np.maximum(grid.low, low[:, grid.of]), np.minimum(grid.high, high[:, grid.of])
        nearest = prices.nearest(lower, upper, grid.of)
        meets = (lower <= nearest) & (nearest <= upper)
        nearest = np.where(meets, nearest, 0)
        price = np.where(meets, prices.price[self._at + nearest], np.inf)
        if self.largest:
            reach = np.maximum(np.maximum.reduceat(price, grid.starts, axis=1), total[:, None])
        else:
            own = np.where(np.isfinite(paid), paid, 0.0)
            reach = total[:, None] + np.add.reduceat(price - own[:, grid.of], grid.starts, axis=1)
        holds = np.logical_and.reduceat(meets & (nearest == near[:, grid.of]), grid.starts, axis=1)
        margins = goal.base + holds @ goal.margin
        worst = margins.argmin(axis=1)
        least = margins.min(axis=1)
        alive, best = total < below, np.empty((len(low), len(grid.trunks)))
        for column, worth in enumerate(goal.margin.T):
            each = np.maximum.reduceat(np.where(reach < below, worth, -np.inf), grid.trunks, axis=1)
            alive &= goal.base[column] + each.sum(axis=1) > -goal.doubt
            best[worst == column] = each[worst == column]
        cells, sure = None, alive & (least > goal.doubt)
        if sure.any():
            cheapest = int(np.where(sure, total, np.inf).argmin())
            below, cells = float(total[cheapest]), near[cheapest].copy()
        worth = goal.margin.T[worst]
        gain = best - np.add.reduceat(np.where(holds, worth, 0.0), grid.trunks, axis=1)
        open_ = alive & ~sure & (total < below)
        cut = open_ & (gain > 0).any(axis=1)
        for row in np.flatnonzero(open_ & ~cut):
            self.doubtful[near[row].tobytes()] = float(total[row]), near[row].copy()
        rows = np.flatnonzero(cut)
        chosen = (reach[rows] < below) & (worth[rows] == best[rows][:, grid.trees.tree]) & ~holds[rows]
        weight = np.where(chosen, np.maximum(gain[rows], 0.0)[:, grid.trees.tree], 0.0)
        return below, cells, self._halves(low[rows], high[rows], near[rows], lower[rows], upper[rows], weight)

    def _halves(
        self,
        low: np.ndarray,
        high: np.ndarray,
        near: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes cut at the feature by which most of what the best leaves would gain, `weight` (n, leaves), is kept from the
        nearest point. First the sides with that point, then the other ones."""
        grid, (n, u) = self.grid, low.shape
        rows = np.arange(n)
        here, gained = near[:, grid.of], weight[:, grid.leaf_of]
        votes = np.empty((2, n, u))
        for way, apart in enumerate((lower > here, upper < here)):
            place = (rows[:, None] * u + grid.of)[apart]
            votes[way] = np.bincount(place, gained[apart], minlength=n * u).reshape(n, u)
        way, feature = np.divmod(np.concatenate([votes[0], votes[1]], axis=1).argmax(axis=1), u)
        mine = (grid.of == feature[:, None]) & (gained > 0)
        far = int(self.grid.last.max()) + 1
        above = np.where(mine & (lower > here), lower, far).min(axis=1)  # the first cell of the other side
        under = np.where(mine & (upper < here), upper, -1).max(axis=1)
        near_low, near_high, other_low, other_high = low.copy(), high.copy(), low.copy(), high.copy()
        up = way == 0
        near_high[rows[up], feature[up]], other_low[rows[up], feature[up]] = above[up] - 1, above[up]
        near_low[rows[~up], feature[~up]], other_high[rows[~up], feature[~up]] = under[~up] + 1, under[~up]
        return np.concatenate([near_low, other_low]), np.concatenate([near_high, other_high])
