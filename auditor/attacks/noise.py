"""Noise: random points of the ball, one after another, each kept where it comes nearer to another class.

The baseline of Carlini et al. 2019, "On evaluating adversarial robustness", section 4: an attack that follows anything
at all must find more.
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.norms import Ball
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm


def noise(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    queries: int = 1000,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units.

    Points are drawn as `Ball.random` says: uniformly in Linf, on the surface in L2, projected normal noise in L1. At most `queries` forwards per
    example, none once it is safely broken. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    for query in range(queries):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        x_adv = ball.random(rng, query)
        best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)
