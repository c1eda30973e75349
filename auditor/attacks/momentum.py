"""Iterative gradient sign with memory: momentum (MI-FGSM), and a gradient taken where the momentum leads (NI-FGSM).

Dong et al. 2018, "Boosting adversarial attacks with momentum", algorithm 1; Lin et al. 2020, "Nesterov accelerated
gradient and scale invariance for adversarial attacks", algorithm 1. A gradient enters the momentum at unit size: mean
|g| for Linf, so that the look ahead is of a step's size in every feature, and Euclidean for L2.
"""

from functools import partial

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import Ball, per_row, steepest, unit
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def mi_fgsm(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random | None = None,
    active: Array | None = None,
    steps: int = 10,
    decay: float = 1.0,
    nesterov: bool = False,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units, target: (n,) for targeted losses.

    From x in steps of eps / steps; decay: what is left of the momentum after a step; nesterov: look ahead along it.
    Nothing here is random; `rng` is taken as by every attack. At most steps + 1 forwards and steps backwards per
    example, none once it is safely broken. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    step = per_row(ball.eps / steps, x).astype(xp.float32)
    size = xp.float32(x[0, ...].size) if norm == "Linf" else xp.float32(1)
    x_adv, velocity = x, xp.zeros_like(x)
    for _ in range(steps):
        alive = active & ~best.done
        if not xp.any(alive):
            return best.attempt(x)
        at = ball.project(x_adv + step * xp.float32(decay) * velocity) if nesterov else x_adv
        here = classifier.gradient(at, y, loss, target=target, active=alive)
        best.see(at, here.logits, alive)
        velocity = xp.float32(decay) * velocity + size * unit(xp, here.g, "L1" if norm == "Linf" else "L2")
        x_adv = ball.project(x_adv + step * steepest(xp, velocity, norm))
    alive = active & ~best.done
    if xp.any(alive):
        best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)


ni_fgsm = partial(mi_fgsm, nesterov=True)
