"""Projected gradient descent on the ball.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks"; momentum as in Dong et al. 2018,
"Boosting adversarial attacks with momentum" (algorithm 1); sparse steps for L1 as in Tramer & Boneh 2019 (SLIDE);
an end where the points repeat (arXiv:2503.19347, PGD_CD): with steps of one size, sign by sign, they soon do.
"""

from typing import Any

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import Ball, elsewhere, per_row, unit
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def pgd(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    steps: int = 40,
    restarts: int = 1,
    step_size: float | None = None,
    momentum: float = 0.0,
    density: float = 0.01,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units, target: (n,) for targeted losses;
    step_size as a share of eps, 2.5 / steps unless given; density: the share of coordinates that an L1 step moves.

    Each restart starts at a random point; an example that is safely broken costs nothing more, nor does one that is
    where it has been before, from where it would walk the same round again (not told with momentum). At most
    restarts * (steps + 1) forwards and restarts * steps backwards per example. Every point given lies in the ball
    and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    step = per_row(ball.eps * (2.5 / steps if step_size is None else step_size), x).astype(xp.float32)
    for restart in range(restarts):
        x_adv = ball.random(rng.split(f"restart {restart}"))
        velocity = xp.zeros_like(x)
        circling = _Circling(xp, x_adv)
        for _ in range(steps):
            alive = active & ~best.done & ~circling.rows
            if not xp.any(alive):
                break
            here = classifier.gradient(x_adv, y, loss, target=target, active=alive)
            best.see(x_adv, here.logits, alive)
            direction = here.g
            if momentum:
                velocity = momentum * velocity + unit(xp, here.g, "L1")
                direction = velocity
            x_adv = ball.project(x_adv + step * ball.uphill(x_adv, direction, density))
            if not momentum:
                circling.see(x_adv)
        alive = active & ~best.done & ~circling.rows
        if xp.any(alive):
            best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)


class _Circling:
    """The rows whose point is, bit by bit, one where they have been: of two steps before, or of the last step whose
    number is a power of two, so that a round of any length is told in the end (Brent 1980)."""

    def __init__(self, xp: Any, x_adv: Array) -> None:
        self.xp, self.step = xp, 0
        self.rows = xp.zeros(x_adv.shape[0], dtype=bool)
        self.anchor = self.before = self.last = x_adv

    def see(self, x_adv: Array) -> None:
        known = ~elsewhere(self.xp, x_adv, self.anchor) | ~elsewhere(self.xp, x_adv, self.last)
        self.rows = self.rows | known | ~elsewhere(self.xp, x_adv, self.before)
        self.step += 1
        self.before, self.last = self.last, x_adv
        if self.step & (self.step - 1) == 0:
            self.anchor = x_adv
