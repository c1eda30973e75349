"""SimBA: one coordinate after another, by class scores alone.

Guo et al. 2019, "Simple black-box adversarial attacks", algorithm 1: a step of a fixed size along one coordinate at a time,
in random order, in whichever sense raises the margin. Here every point is projected, so that
it stays within a budget where the paper bounds its distance by the number of steps.
"""

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import Ball, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm


def simba(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm = "L2",
    rng: Random,
    active: Array | None = None,
    queries: int = 1000,
    share: float = 0.2,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units; norm: L2.

    share: of eps, the length of a step. Coordinates come in a random order, and again once all were tried. At most `queries` forwards per example, none
    once it is safely broken. Every point given lies in the ball and in the domain.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, "L2", classifier.domain)
    best = Strongest(classifier, x, y)
    d = x[0, ...].size
    size = per_row(ball.eps * share, x).astype(xp.float32)
    order, position = xp.argsort(rng.uniform(0, (d,)), axis=1, stable=True), xp.arange(d)[None, :]
    current, largest = x, xp.full(n, -xp.inf, dtype=xp.float32)
    turn, sign = xp.zeros(n, dtype=xp.int64), xp.zeros(n, dtype=xp.int64)  # sign 0: the first query is about x itself
    for _ in range(queries):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        chosen = position == xp.take_along_axis(order, (turn % d)[:, None], axis=1)
        step = (chosen * sign[:, None]).reshape(x.shape).astype(xp.float32)
        x_adv = ball.project(current + size * step)
        logits = classifier.logits(x_adv, active=alive)
        best.see(x_adv, logits, alive)
        gap = margin(xp, logits, y)
        better = alive & (gap > largest)
        current, largest = xp.where(per_row(better, x), x_adv, current), xp.where(better, gap, largest)
        over = better | (sign < 0)
        turn, sign = turn + (over & (sign != 0)), xp.where(over | (sign == 0), 1, -1)
    return best.attempt(x)
