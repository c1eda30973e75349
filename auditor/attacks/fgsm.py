"""The fast gradient method: one step to where the linearised loss is largest.

Goodfellow, Shlens & Szegedy 2015, "Explaining and harnessing adversarial examples", section 4 (Linf: the fast
gradient sign method); the other norms by the same rule, the vertex of the ball that the gradient points to.
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import Ball
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm


def fgsm(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random | None = None,
    active: Array | None = None,
    loss: Loss = Loss.CROSS_ENTROPY,
    target: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units, target: (n,) for targeted losses.

    Nothing here is random; `rng` is taken as by every attack. Two forwards and one backward per example. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    at_x = classifier.gradient(x, y, loss, target=target, active=active)
    best.see(x, at_x.logits, active)
    x_adv = ball.vertex(at_x.g)
    best.see(x_adv, classifier.logits(x_adv, active=active), active)
    return best.attempt(x)
