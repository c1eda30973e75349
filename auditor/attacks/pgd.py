"""Projected gradient descent on the ball.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks"; momentum as in Dong et al. 2018,
"Boosting adversarial attacks with momentum" (algorithm 1); sparse steps for L1 as in Tramer & Boneh 2019 (SLIDE).
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import Ball, per_row, unit
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

    Each restart starts at a random point; an example that is safely broken costs nothing more. At most
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
        for _ in range(steps):
            alive = active & ~best.done
            if not xp.any(alive):
                return best.attempt(x)
            here = classifier.gradient(x_adv, y, loss, target=target, active=alive)
            best.see(x_adv, here.logits, alive)
            direction = here.g
            if momentum:
                velocity = momentum * velocity + unit(xp, here.g, "L1")
                direction = velocity
            x_adv = ball.project(x_adv + step * ball.uphill(x_adv, direction, density))
        alive = active & ~best.done
        if xp.any(alive):
            best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)
