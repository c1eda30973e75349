"""Pointwise: few features by decisions alone, taken back one after another as long as the goal is still reached.

Schott et al. 2019, "Towards the first adversarially robust neural network model on MNIST", section 5 (pointwise
attack). Two things are our own, for inputs of more features than queries: features are first taken back in blocks, which
halve when a round is over; and where no single one can be taken back any more, random features are added and the
reduction begins anew, keeping the smallest set (the paper begins at another noise).
"""

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import Decisions, begin
from auditor.attacks.norms import at_ends
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm


def pointwise(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L0",
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    added: float = 1.5,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 features, inf where none is known.

    added: how many features are added to a set that cannot be reduced, as a share of it; start: (n, *shape), where the
    search begins; a row that is x, or where start does not reach the goal, begins at random points. At most `queries`
    forwards per example, of which only the largest score is looked at. Gives the point with the fewest changed features,
    each channel of a pixel being one, if they are fewer than the ceiling.
    """
    xp = classifier.xp
    asked = Decisions(classifier, x, y, norm="L0", ceiling=ceiling, queries=queries, active=active)
    first, known = begin(asked, rng.split("start"), start)
    search = _Search(asked, rng.split("search"), first, added)
    turn = 0
    while xp.any(known & asked.alive & search.reducible):
        trial = search.proposal()
        alive = known & asked.alive & search.reducible
        search.learn(turn, trial, asked.broken(trial.reshape(x.shape), alive), alive)
        turn += 1
    return asked.attempt()


class _Search:
    """Where each row stands, features flat: (n, d).

    smallest: the smallest set that could not be reduced; current: the point of this round, which reaches the goal, or
    where a row is `adding` (n,) the one that is to be tried; rank: the order in which changed features are tried, d for
    the others. A round tries the ranks from `first` on, `block` at a time; fell: whether it took anything back.
    """

    def __init__(self, asked: Decisions, rng: Random, point: Array, added: float) -> None:
        xp = self.xp = asked.xp
        n = point.shape[0]
        self.rng, self.added = rng, added
        self.x = asked.x.reshape((n, -1))
        self.lower, self.upper = (end.reshape((n, 1)) for end in asked.box())
        self.smallest = self.current = point.reshape((n, -1))
        self.adding, self.fell = xp.zeros(n, dtype=bool), xp.zeros(n, dtype=bool)
        self.first = xp.zeros(n, dtype=xp.int64)
        self.rank = xp.zeros(self.x.shape, dtype=xp.int64)
        self.block = self._half(self._count(self.current))
        self._shuffle(xp.arange(n), rng.split("first").uniform(0, self.x.shape[1:]))

    @property
    def reducible(self) -> Array:
        """(n,) bool, where the smallest set known has two features or more."""
        return self._count(self.smallest) > 1

    def proposal(self) -> Array:
        """What to ask about next: the point with a block of features taken back, or with features added. (n, d)"""
        within = (self.rank >= self.first[:, None]) & (self.rank < (self.first + self.block)[:, None])
        return self.xp.where(within & ~self.adding[:, None], self.x, self.current)

    def learn(self, turn: int, trial: Array, reached: Array, alive: Array) -> None:
        """What follows from the answer of the rows that were asked, both (n,) bool."""
        xp = self.xp
        began, missed = alive & self.adding & reached, alive & self.adding & ~reached
        removing = alive & ~self.adding
        self.current = xp.where((removing & reached)[:, None], trial, self.current)
        self.fell = self.fell | (removing & reached)
        self.first = self.first + xp.where(removing, self.block, 0)
        over = removing & (self.first >= xp.sum(self.rank < self.x.shape[1], axis=1))
        settled = over & (self.block == 1) & ~self.fell
        fewer = settled & (self._count(self.current) <= self._count(self.smallest))
        self.smallest = xp.where(fewer[:, None], self.current, self.smallest)
        self.block = xp.where(began, self._half(self._count(self.current)), self.block)
        self.block = xp.where(over, xp.maximum(self.block // 2, 1), self.block)
        self.adding = settled | (self.adding & ~began)
        again, more = (over & ~settled) | began, settled | missed
        self.first, self.fell = xp.where(again, 0, self.first), self.fell & ~again
        rows = xp.nonzero(again | more)[0]
        if rows.shape[0]:
            draws = self.rng.of(rows).uniform(turn, (2, self.x.shape[1]))
            self._shuffle(rows[again[rows]], draws[again[rows], 0])
            self._add(rows[more[rows]], draws[more[rows]])

    def _count(self, point: Array) -> Array:
        return self.xp.sum(point != self.x, axis=1)

    def _half(self, count: Array) -> Array:
        return self.xp.maximum((count + 1) // 2, 1)

    def _shuffle(self, rows: Array, draws: Array) -> None:
        """Begin a round of `rows` in a new order. draws: (m, d)"""
        xp, changed = self.xp, self.current[rows] != self.x[rows]
        rank = xp.argsort(xp.argsort(xp.where(changed, draws, xp.float32(2)), axis=1, stable=True), axis=1)
        self.rank[rows] = xp.where(changed, rank, self.x.shape[1])

    def _add(self, rows: Array, draws: Array) -> None:
        """Add features to the smallest set of `rows`, at ends of the domain. draws: (m, 2, d)"""
        xp, x, smallest = self.xp, self.x[rows], self.smallest[rows]
        unchanged = smallest == x
        wanted = xp.maximum((xp.sum(~unchanged, axis=1) * self.added).astype(xp.int64), 1)
        rank = xp.argsort(xp.argsort(xp.where(unchanged, draws[:, 0], xp.float32(2)), axis=1, stable=True), axis=1)
        end = at_ends(xp, x, draws[:, 1] < 0.5, self.lower[rows], self.upper[rows])
        self.current[rows] = xp.where(unchanged & (rank < wanted[:, None]), end, smallest)
