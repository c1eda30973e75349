"""NES: projected gradient ascent along a gradient that is estimated from class scores.

Ilyas et al. 2018, "Black-box adversarial attacks with limited queries and information", section 2.2: differences along
pairs of opposite normal directions (natural evolution strategies), momentum, steps in the sign of the estimate. The
search radius and the step are shares of eps, and the step shrinks evenly to nothing, where the paper tunes both.
"""

from auditor.attacks.attempt import Attempt, Strongest
from auditor.attacks.differences import slope
from auditor.attacks.norms import Ball, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

MOMENTUM = 0.9


def nes(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    queries: int = 1000,
    pairs: int = 12,
    sigma: float = 0.2,
    step_size: float = 0.4,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units; norm: Linf or L2.

    pairs: of probes per step; sigma: standard deviation of a probe's coordinate (Linf) or length of a probe (L2), and
    step_size: the first step's, both as shares of eps. At most `queries` forwards per example, none once it is safely
    broken. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    ball = Ball(xp, x, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    wide = sigma if norm == "Linf" else sigma * x[0, ...].size ** -0.5
    spread, first = (per_row(ball.eps * share, x).astype(xp.float32) for share in (wide, step_size))
    x_adv, g = x, xp.zeros_like(x)
    steps = queries // (2 * pairs + 1)
    for k in range(steps):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        probes = (spread * rng.bell(k * pairs + pair, x.shape[1:]) for pair in range(pairs))
        g = MOMENTUM * g + (1 - MOMENTUM) * slope(classifier, x_adv, y, probes, alive)
        x_adv = ball.project(x_adv + (1 - k / steps) * first * ball.uphill(x_adv, g))
        best.see(x_adv, classifier.logits(x_adv, active=alive), alive)
    return best.attempt(x)
