"""Minimal-norm APGD: the nearest adversarial example, by ascents in balls that shrink around each example.

The ascent is Auto-PGD's (Croce & Hein 2020, algorithm 1; sparse steps for L1 as in Croce & Hein 2021), the search
over eps our own. Every example has its own radius and its own clock: as soon as a point is safely broken the radius
drops below its distance by a share `shrink`, and the ascent goes on from there, projected; after `patience` steps
without success the share is halved. Unlike a bisection this never believes that a radius is safe, which matters
where gradients mislead near x.
"""

from typing import Any

from auditor.attacks.attempt import Attempt, Nearest
from auditor.attacks.losses import ascent
from auditor.attacks.norms import Ball, box, distance, linear_distance, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Loss, Norm

MOMENTUM = 0.75
ENOUGH = 0.75  # share of steps since the last look that must have raised the loss, as in APGD
LOOK = 3  # steps between looks at the step size
STEP = {"Linf": 0.5, "L2": 0.5, "L1": 1.0}  # first step as a share of the radius; each ascent starts warm


def minimal_apgd(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    norm: Norm,
    rng: Random,
    ceiling: Array,
    active: Array | None = None,
    steps: int = 100,
    patience: int = 10,
    shrink: float = 0.2,
    finest: float = 0.002,
    random_start: bool = False,
    fresh: bool = False,
    far: float = 0.0,
    loss: Loss = Loss.MARGIN,
    target: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known;
    target: (n,) int64 for targeted losses.

    finest: an example is done when its share falls below it. With no ceiling the first radius is four times the
    distance to the linearised boundary; `fresh` starts there even where a ceiling is known, to arrive in another
    place. far: where positive, a random start is a uniformly random point of the domain, drawn towards x to this share of
    its distance, which is the first radius: gradients that mislead near x may not do so there. At most steps + 2 forwards and backwards per example. Gives the nearest safely broken point that is nearer
    than the ceiling.
    """
    xp, n = classifier.xp, x.shape[0]
    active = xp.ones(n, dtype=bool) if active is None else active
    best = Nearest(classifier, x, y, norm, xp.full(n, xp.inf) if fresh else ceiling)
    here = classifier.gradient(x, y, Loss.MARGIN if target is None else Loss.DIFFERENCE, target=target, active=active)
    best.see(x, here.logits, active)
    bounded = xp.isfinite(best.distance)
    share = xp.where(bounded, shrink, max(shrink, 0.2))
    radius = xp.where(bounded, best.distance * (1 - share), 4.0 * linear_distance(xp, here.loss, here.g, norm))
    anywhere = _anywhere(xp, x, classifier.domain, rng) if far else None
    if anywhere is not None:
        radius = far * distance(xp, anywhere, x, norm)
    ball = Ball(xp, x, radius, norm, classifier.domain, inward=False)
    x_adv = x
    if random_start:
        x_adv = ball.random(rng) if anywhere is None else ball.project(anywhere)
    x_before, x_best, g = x_adv, x_adv, here.g
    if random_start:
        here = classifier.gradient(x_adv, y, loss, target=target, active=active)
        best.see(x_adv, here.logits, active)
        g = here.g
    g_best, f = g, xp.full(n, -xp.inf, dtype=xp.float32)
    f_best, eta, density = f, radius * STEP[norm], xp.full(n, 0.1)
    age = raised = since = xp.zeros(n, dtype=xp.int64)
    for _ in range(steps):
        active = active & (best.distance > 0) & (share >= finest)
        if not xp.any(active):
            break
        z = ball.project(x_adv + per_row(eta, x).astype(xp.float32) * ball.uphill(x_adv, g, density))
        if norm == "L1":
            x_next = z
        else:
            pull = per_row(xp.where(age > 0, MOMENTUM, 1.0), x).astype(xp.float32)
            x_next = ball.project(x_adv + pull * (z - x_adv) + (1 - pull) * (x_adv - x_before))
        x_adv, x_before = x_next, x_adv
        here = classifier.gradient(x_adv, y, loss, target=target, active=active)
        broken = best.see(x_adv, here.logits, active)
        f, f_before, g = ascent(xp, here.loss), f, here.g
        age, since, raised = age + 1, since + 1, raised + (f > f_before)
        better = f > f_best
        f_best = xp.where(better, f, f_best)
        x_best = xp.where(per_row(better, x), x_adv, x_best)
        g_best = xp.where(per_row(better, x), g, g_best)

        look = since >= LOOK
        back = look & (raised < ENOUGH * since)
        eta = xp.where(back, eta / 2, eta)
        x_adv = xp.where(per_row(back, x), x_best, x_adv)
        g = xp.where(per_row(back, x), g_best, g)
        f = xp.where(back, f_best, f)
        if norm == "L1":
            changed = xp.sum((x_best != x).reshape((n, -1)), axis=1) / x[0, ...].size
            density = xp.where(look, xp.maximum(changed, xp.zeros_like(changed)) / 1.5, density)

        gave_up = (age >= patience) & ~broken
        found = xp.isfinite(best.distance)
        share = xp.where(gave_up & found, share / 2, share)
        anew = broken | gave_up
        radius = xp.where(anew, xp.where(found, best.distance * (1 - share), 2.0 * radius), radius)
        ball = ball.resized(radius)
        eta = xp.where(anew, radius * STEP[norm], eta)
        f, f_best = xp.where(anew, -xp.inf, f), xp.where(anew, -xp.inf, f_best)
        age = xp.where(anew, 0, age)
        since, raised = xp.where(anew | look, 0, since), xp.where(anew | look, 0, raised)
    return best.attempt(nearer_than=ceiling)


def _anywhere(xp: Any, x: Array, domain: tuple[float, float] | None, rng: Random) -> Array:
    """A uniformly random point of the domain, or of what `box` says where there is none. (n, *shape) float32"""
    lower, upper = box(xp, x, domain)
    return lower + rng.uniform(0, x.shape[1:]) * (upper - lower)
