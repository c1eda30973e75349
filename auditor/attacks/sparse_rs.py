"""Sparse-RS: random search over few features, by class scores alone.

Croce et al. 2022, "Sparse-RS: a versatile framework for query-efficient sparse black-box attacks", algorithm 1 and
section 4 (L0). A set of k features stands at ends of the domain; a query exchanges a share of the set for features
from outside, at random ends, and the exchange stays where the margin does not fall. It needs no gradient, and so shows
where gradients mislead. Features are single numbers, as everywhere in L0 here, so that a feature that stands at one end
of the domain goes to the other: where x has it would change nothing.
"""

from dataclasses import dataclass
from typing import Any

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import at_ends, box
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

# The share of the set that a query exchanges is divided by these numbers, from these shares of the budget on.
DIVISORS = (2, 4, 5, 6, 8, 10, 12, 15, 20)
MARKS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def sparse_rs(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm = "L0",
    rng: Random,
    active: Array | None = None,
    queries: int = 5000,
    share: float = 0.3,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 features, each channel of a pixel being one.

    share: the share of the set that is exchanged, before it is divided; start: (n, *shape), whose largest changes the
    search begins with, as many as eps allows; a row that is x begins with random features. Without a domain features go
    as far as `box` says. At most `queries` forwards per example, none once it is safely broken. Every point given
    changes at most eps features and lies in the domain.
    """
    xp, n, d = classifier.xp, x.shape[0], x[0, ...].size
    size = xp.minimum(xp.asarray(eps, dtype=xp.float64), float(d)).astype(xp.int64)
    active = (xp.ones(n, dtype=bool) if active is None else active) & (size > 0)
    best = Strongest(classifier, x, y)
    search = _Search.begun(xp, rng, x, size, classifier.domain, x if start is None else start)
    trial, largest = search.current, xp.full(n, -xp.inf, dtype=xp.float32)
    for query in range(queries):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        if query:
            count = exchanged(xp, size, share, query / queries)
            exchange = search.drawn(rng.uniform(query, (int(xp.max(count)), 3)), count)
            trial = search.after(exchange)
        logits = classifier.logits(trial.reshape(x.shape), active=alive)
        best.see(trial.reshape(x.shape), logits, alive)
        gap = margin(xp, logits, y)
        better = alive & (gap >= largest)
        largest = xp.where(better, gap, largest)
        if query:
            search.accept(exchange, trial, better)
    return best.attempt(x)


def exchanged(xp: Any, size: Array, share: float, progress: float) -> Array:
    """How many of `size` (n,) features a query exchanges when `progress` of the budget is spent: at least one."""
    divisor = next(d for d, mark in zip(reversed(DIVISORS), reversed(MARKS), strict=True) if progress >= mark)
    return xp.maximum((size * (share / divisor)).astype(xp.int64), 1)


@dataclass(frozen=True)
class _Exchange:
    """Positions in a row's order, (n, m): those inside the set that leave it and those that come for them. Slots beyond
    a row's own count repeat its first. ends: (n, m) bool, which end of the domain those that come go to."""

    leaving: Array
    coming: Array
    ends: Array


@dataclass
class _Search:
    """Each row's point and set. x, current: (n, d) float32; order: (n, d) int64, the features, those of the set first;
    size: (n,) int64; lower, upper: (n, 1) float32."""

    xp: Any
    x: Array
    current: Array
    order: Array
    size: Array
    lower: Array
    upper: Array

    @classmethod
    def begun(
        cls, xp: Any, rng: Random, x: Array, size: Array, domain: tuple[float, float] | None, start: Array
    ) -> "_Search":
        flat, start = x.reshape((x.shape[0], -1)), start.reshape((x.shape[0], -1))
        lower, upper = (end.reshape((-1, 1)) for end in box(xp, x, domain))
        draws = rng.split("start").uniform(0, (2, flat.shape[1]))
        change = xp.abs(start - flat)
        # Changes by falling size come first, then the others at random.
        order = xp.argsort(xp.where(change > 0, -change, draws[:, 0]), axis=1, stable=True)
        search = cls(xp, flat, flat, order, size, lower, upper)
        inside = xp.argsort(order, axis=1) < size[:, None]
        value = xp.where(change > 0, xp.clip(start, lower, upper), at_ends(xp, flat, draws[:, 1] < 0.5, lower, upper))
        search.current = xp.where(inside, value, flat)
        return search

    def drawn(self, uniform: Array, count: Array) -> _Exchange:
        """An exchange of `count` (n,) features. uniform: (n, m, 3) in [0, 1). Where nothing is left outside, what
        leaves comes back, at another end."""
        xp, d = self.xp, self.x.shape[1]
        slot = xp.arange(uniform.shape[1])[None, :]
        slot = xp.where(slot < count[:, None], slot, 0)
        outside = d - self.size
        leaving = subset(xp, uniform[:, :, 0], count, self.size)
        coming = self.size[:, None] + subset(xp, uniform[:, :, 1], xp.minimum(count, outside), outside)
        coming = xp.where(xp.arange(uniform.shape[1])[None, :] < outside[:, None], coming, leaving)
        chosen = (xp.take_along_axis(a, slot, axis=1) for a in (leaving, coming, uniform[:, :, 2] < 0.5))
        return _Exchange(*chosen)

    def after(self, exchange: _Exchange) -> Array:
        """The point after an exchange. (n, d)"""
        xp, trial, rows = self.xp, self.current.copy(), self.xp.arange(self.x.shape[0])[:, None]
        leaving, coming = self.order[rows, exchange.leaving], self.order[rows, exchange.coming]
        trial[rows, leaving] = self.x[rows, leaving]
        # One that comes back goes to an end where it is not.
        back = exchange.leaving == exchange.coming
        old = xp.where(back, self.current[rows, coming], self.x[rows, coming])
        trial[rows, coming] = at_ends(xp, old, exchange.ends, self.lower, self.upper)
        return trial

    def accept(self, exchange: _Exchange, trial: Array, better: Array) -> None:
        """The exchange is made in the rows that are `better` (n,)."""
        self.current = self.xp.where(better[:, None], trial, self.current)
        rows = self.xp.nonzero(better)[0]
        leaving, coming = exchange.leaving[rows], exchange.coming[rows]
        rows = rows[:, None]
        leaves, comes = self.order[rows, leaving], self.order[rows, coming]
        self.order[rows, leaving], self.order[rows, coming] = comes, leaves


def subset(xp: Any, uniform: Array, count: Array, size: Array) -> Array:
    """A random subset of `count` (n,) of the numbers below `size` (n,), any as likely as any other, in the first columns
    (Floyd 1987, "A sample of brilliance"). uniform: (n, m) in [0, 1) -> (n, m) int64; later columns mean nothing."""
    chosen = xp.full(uniform.shape, -1, dtype=xp.int64)
    for j in range(uniform.shape[1]):
        last = size - count + j
        drawn = (uniform[:, j] * (last + 1)).astype(xp.int64)
        chosen[:, j] = xp.where(xp.any(chosen[:, :j] == drawn[:, None], axis=1), last, drawn)
    return chosen
