"""Feature search: one feature after another is moved up, down or back, by class scores alone.

Our own coordinate ascent on the margin, for tables: where a feature is a category or a whole number, or the model is
made of trees, gradients say little, and there are few features. Features come in random order, an order per sweep;
each is tried at a share of the budget, which from sweep to sweep halves and starts anew; where the budget is used up,
the other changes give way.
"""

from typing import Any

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import Ball, length, per_row
from auditor.attacks.random import Random
from auditor.attacks.space import View
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Norm

SHARES = (1.0, 0.5, 0.25, 0.125)
FAR = 4.0  # what is tried at first in L0, where nothing tells how far a feature may go
IDLE = len(SHARES)  # sweeps without a gain, at every share, that end the search


def feature_search(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    queries: int = 1000,
    start: Array | None = None,
    view: View | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units.

    start: (n, *shape), where the search begins, projected. view: says which points stand for the same input, so that
    no query is spent on the same one twice in a row. At most `queries` forwards per example, none once it is safely
    broken. Every point given lies in the ball and in the domain.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    step = _Step(xp, ball)
    current = _plain(view, x if start is None else ball.project(start))
    largest, left = xp.full(n, -xp.inf, dtype=xp.float32), xp.full(n, queries, dtype=xp.int64)

    def see(trial: Array, rows: Array) -> Array:
        """Where a trial is better, it is gone on from. (n,) bool"""
        nonlocal current, largest, left
        rows = rows & active & ~best.done & (left > 0)
        if not xp.any(rows):
            return rows
        logits = classifier.logits(trial, active=rows)
        best.see(trial, logits, rows)
        left = left - rows
        gap = margin(xp, logits, y)
        better = rows & (gap > largest)
        largest = xp.where(better, gap, largest)
        current = xp.where(per_row(better, x), trial, current)
        return better

    see(current, active)
    d, sweep = x[0, ...].size, 0
    idle = xp.zeros(n, dtype=xp.int64)
    while xp.any(active & ~best.done & (left > 0) & (idle < IDLE)):
        order = xp.argsort(rng.uniform(sweep, (d,)), axis=1, stable=True)
        gained = xp.zeros(n, dtype=bool)
        for place in range(d):
            for way in (1.0, -1.0, 0.0):
                trial = _plain(view, step.to(current, order[:, place], way * SHARES[sweep % len(SHARES)]))
                moved = xp.any((trial != current).reshape((n, -1)), axis=1)
                gained = gained | see(trial, moved & (idle < IDLE))
        idle, sweep = xp.where(gained, 0, idle + 1), sweep + 1
    return best.attempt(x)


def _plain(view: View | None, points: Array) -> Array:
    return points if view is None else view.coordinates(view.input(points))


class _Step:
    """Moves of one feature, by a share of the budget, inside the ball."""

    def __init__(self, xp: Any, ball: Ball) -> None:
        self.xp, self.ball = xp, ball
        lower, upper = bounds(ball.domain)
        far = float(upper - lower) if ball.domain else FAR
        self.amount = xp.full(ball.x.shape[0], far) if ball.norm == "L0" else ball.eps

    def to(self, current: Array, feature: Array, share: float) -> Array:
        """`current` with one feature of each row at share * budget from x; the others make room. feature: (n,)"""
        xp, ball = self.xp, self.ball
        here = xp.arange(current[0, ...].size)[None, :] == feature[:, None]
        change = (current - ball.x).reshape(here.shape)
        others = xp.where(here, xp.float32(0), change)
        if ball.norm in ("L2", "L1"):
            power = 2 if ball.norm == "L2" else 1
            size = length(xp, others, ball.norm)
            room = (self.amount**power * (1 - abs(share) ** power)) ** (1 / power)
            fit = xp.where(size > room, room / xp.where(size > 0, size, 1.0), 1.0)
            others = others * fit[:, None].astype(xp.float32)
        moved = xp.where(here, (share * self.amount)[:, None].astype(xp.float32), others)
        return ball.project(ball.x + moved.reshape(current.shape))
