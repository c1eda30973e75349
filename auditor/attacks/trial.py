"""Which gradient leads somewhere? Measured: how high each climbs in a few steps, and how high random points lie.

A surrogate has no differences of the scores to agree with. What can be asked of it is what an attack asks: that
following it raises the margin by more than chance does, on the model's own scores.
"""

from collections.abc import Callable

import numpy as np

from auditor import runtime
from auditor.attacks.attempt import margin
from auditor.attacks.norms import Ball
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm

STEPS = 10
_STEP_SIZE = 0.25  # of eps, so that the walk crosses the ball and turns


def climbed(classifier: Classifier, x: np.ndarray, y: np.ndarray, *, eps: float, norm: Norm, seed: int) -> np.ndarray:
    """The highest margin within eps (input units) on a walk along the gradient from a random point, broken or not;
    -inf where none was finite. x: (n, *shape), y: (n,) -> (n,). STEPS forwards and backwards per example."""

    def step(ball: Ball, here: Array, k: int) -> tuple[Array, Array]:
        found = classifier.gradient(here, labels, Loss.MARGIN)
        onward = here + classifier.xp.float32(_STEP_SIZE * eps) * ball.uphill(here, found.g)
        return found.loss, ball.project(onward)

    labels = classifier.xp.asarray(y)
    return _highest(classifier, x, eps, norm, seed, step)


def by_chance(
    classifier: Classifier, x: np.ndarray, y: np.ndarray, *, eps: float, norm: Norm, seed: int
) -> np.ndarray:
    """The same of as many random points, which the gradient of no walk chose. STEPS forwards per example."""
    xp, n = classifier.xp, len(x)
    rng = Random.keyed(xp, seed, "random points", np.arange(n))

    def step(ball: Ball, here: Array, k: int) -> tuple[Array, Array]:
        loss = margin(xp, classifier.logits(here), labels)
        direction = ball.uphill(ball.x, rng.normal(k, x.shape[1:]))
        return loss, ball.project(ball.x + xp.float32(eps) * direction)

    labels = xp.asarray(y)
    return _highest(classifier, x, eps, norm, seed, step)


def _highest(
    classifier: Classifier,
    x: np.ndarray,
    eps: float,
    norm: Norm,
    seed: int,
    step: Callable[[Ball, Array, int], tuple[Array, Array]],
) -> np.ndarray:
    xp, n = classifier.xp, len(x)
    ball = Ball(xp, xp.asarray(x), xp.full(n, eps, dtype=xp.float64), norm, classifier.domain)
    here = ball.random(Random.keyed(xp, seed, "gradient trial", np.arange(n)))
    highest = np.full(n, -np.inf)
    for k in range(STEPS):
        loss, here = step(ball, here, k)
        met = runtime.to_host(loss).astype(np.float64)
        highest = np.where(np.isfinite(met), np.maximum(highest, met), highest)
    return highest
