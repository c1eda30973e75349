"""SignHunter: the gradient's signs by class scores alone, one block of coordinates after another.

Al-Dujaili & O'Reilly 2020, "Sign bits are all you need for black-box attacks", algorithm 1. From the point whose
perturbation is +eps everywhere, each block of signs is turned round, first all coordinates, then halves, quarters and
so on; a turn is kept where the margin rises. After the single coordinates it begins anew.
"""

from math import inf

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import Ball, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm


def sign_hunter(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random | None = None,
    active: Array | None = None,
    queries: int = 1000,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units; norm: Linf or L2.

    Nothing is drawn at random. At most `queries` forwards per example, none once it is safely broken. Every point
    given lies in the ball and in the domain.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    d = x[0, ...].size
    signs, largest = xp.ones_like(x), xp.full(n, -inf, dtype=xp.float32)
    blocks = block = 0  # none: the first query is about all ones
    for _ in range(queries):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        inside = (xp.arange(d) * blocks // d == block).reshape(x.shape[1:]) if blocks else xp.zeros(x.shape[1:]) > 0
        trial = xp.where(inside, -signs, signs)
        x_adv = ball.vertex(trial)
        logits = classifier.logits(x_adv, active=alive)
        best.see(x_adv, logits, alive)
        gap = margin(xp, logits, y)
        better = alive & (gap > largest)
        signs, largest = xp.where(per_row(better, x), trial, signs), xp.where(better, gap, largest)
        block += 1
        if block >= blocks:
            blocks, block = (min(2 * blocks, d) if 0 < blocks < d else 1), 0
    return best.attempt(x)
