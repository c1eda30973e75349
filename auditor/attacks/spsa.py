"""SPSA: Adam along differences of class scores in random corners.

Uesato et al. 2018, "Adversarial risk and the dangers of evaluating against weak attacks", algorithm 1: simultaneous
perturbation stochastic approximation, every coordinate moved by the same length in a random sense, and Adam's steps
projected into the ball. The lengths are shares of eps: the paper's 0.01 in a domain of width 1, at 8/255.
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.differences import slope
from auditor.attacks.norms import Ball, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

BETAS = (0.9, 0.999)
TINY = 1e-30


def spsa(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm = "Linf",
    rng: Random,
    active: Array | None = None,
    queries: int = 1000,
    pairs: int = 12,
    delta: float = 0.3,
    step_size: float = 0.3,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units; norm: Linf.

    pairs: of probes per step; delta: how far a probe moves each coordinate, and step_size: Adam's, both as shares of
    eps. At most `queries` forwards per example, none once it is safely broken. Every point given lies in the ball and
    in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, "Linf", classifier.domain)
    best = Strongest(classifier, x, y)
    reach, length = (per_row(ball.eps * share, x).astype(xp.float32) for share in (delta, step_size))
    x_adv, first, second = x, xp.zeros_like(x), xp.zeros_like(x)
    for k in range(queries // (2 * pairs + 1)):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        draws = (rng.uniform(k * pairs + pair, x.shape[1:]) for pair in range(pairs))
        g = slope(classifier, x_adv, y, (xp.where(draw < 0.5, -reach, reach) for draw in draws), alive)
        first = BETAS[0] * first + (1 - BETAS[0]) * g
        second = BETAS[1] * second + (1 - BETAS[1]) * g * g
        corrected = [moment / (1 - beta ** (k + 1)) for moment, beta in zip((first, second), BETAS, strict=True)]
        x_adv = ball.project(x_adv + length * corrected[0] / (xp.sqrt(corrected[1]) + TINY))
        best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)
