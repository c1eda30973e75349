"""One perturbation for all inputs, learnt on examples that are not audited (Moosavi-Dezfooli et al. 2017).

By stochastic gradients: Shafahi, Najibi, Xu, Dickerson, Davis & Goldstein 2020, "Universal adversarial training",
algorithm 2 with the cross-entropy cut at 9 per example, so that those that are broken already do not take over. Each
eps goes on from the next smaller one's perturbation, grown to its size.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from auditor.attacks.catalogue import Passes
from auditor.attacks.grid import Grid
from auditor.attacks.norms import Ball, per_row, steepest
from auditor.attacks.random import Random
from auditor.attacks.space import Space
from auditor.classifier import Array, Classifier
from auditor.data.domain import Box, bounds
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Loss, Norm, Threat, exact
from auditor.threats.threat import Lesson, OtherThreat, Points, Scene, Setting

EPOCHS = 8
FEWEST, MOST = 20, 500  # examples that it is learnt on
_BATCH = 100
_CUT = 9.0


def universal(spec: AuditSpec, space: Space, norm: Norm, left: int) -> OtherThreat:
    """At every eps of one norm's grid. left: examples that are not audited. Raises SpecError where the norm is not asked
    for, or too few are left."""
    threat = next((threat for threat in spec.threats if threat.norm == norm), None)
    if threat is None:
        raise SpecError(f"a perturbation for all inputs in {norm} needs that norm's eps; ask for --norm {norm} too")
    if left < FEWEST:
        raise SpecError(
            f"a perturbation for all inputs is learnt on at least {FEWEST} examples that are not audited, and {left} are "
            "left; audit fewer (--examples), or give more"
        )

    def learn(lesson: Lesson) -> OtherThreat:
        found = learnt(lesson, threat, space)

        def points(scene: Scene, setting: Setting) -> Points:
            yield _shifted(scene, found[setting["eps"]], threat, setting["eps"], space)

        passes = EPOCHS * len(threat.eps) * len(lesson.x)
        return replace(untaught, points=points, learning=Passes(passes, passes))

    settings = tuple({"norm": norm, "eps": eps} for eps in threat.eps)
    untaught = OtherThreat(
        f"universal-{norm}",
        "universal",
        settings,
        _untaught,
        access="white-box",
        search=True,
        images=False,
        about={"source": "Moosavi-Dezfooli et al. 2017; Shafahi et al. 2020"},
        cost=Passes((EPOCHS + 1) * len(settings), EPOCHS * len(settings)),
        learn=learn,
    )
    return untaught


def learnt(lesson: Lesson, threat: Threat, space: Space) -> Mapping[str, Array]:
    """The perturbation (*shape) for each eps, ascending the mean loss over the lesson's examples."""
    classifier, x, y = lesson.classifier, lesson.x, lesson.y
    xp, norm, domain = classifier.xp, threat.norm, classifier.domain
    grid = Grid(threat, space)
    delta, before, found = xp.zeros((1, *x.shape[1:]), dtype=xp.float32), None, {}
    for level, eps in enumerate(threat.eps):
        radius = float(grid.units(np.array([level]))[0])
        ball = Ball(xp, xp.zeros_like(delta), xp.asarray([radius]), norm, _room(domain))
        if before is not None:
            delta = ball.project(delta * xp.float32(exact(eps) / before))
        steps = EPOCHS * -(-len(x) // _BATCH)
        for step in range(steps):
            active = xp.asarray(np.isin(np.arange(len(x)), _drawn(lesson, level, step)))
            g = _mean_gradient(classifier, x, y, active, delta)
            size = xp.float32(2 * radius * 10 ** (-step / steps) / 5)
            delta = ball.project(delta + size * steepest(xp, g, norm))
        found[eps], before = delta[0], Fraction(exact(eps))
    return found


def _mean_gradient(classifier: Classifier, x: Array, y: Array, active: Array, delta: Array) -> Array:
    """Of the cut cross-entropy, over the active examples, which alone are evaluated. (1, *shape)"""
    xp = classifier.xp
    moved = x + delta
    if classifier.domain is not None:
        moved = xp.clip(moved, *bounds(classifier.domain))
    found = classifier.gradient(moved.astype(xp.float32), y, Loss.CROSS_ENTROPY, active=active)
    counts = active & (found.loss < _CUT) & xp.all(xp.isfinite(found.g.reshape((len(x), -1))), axis=1)
    return xp.sum(xp.where(per_row(counts, x), found.g, xp.float32(0)), axis=0, keepdims=True)


def _drawn(lesson: Lesson, level: int, step: int) -> np.ndarray:
    """The rows of one step: each epoch goes through all of them in an order of its own."""
    per_epoch = -(-len(lesson.x) // _BATCH)
    epoch, part = divmod(step, per_epoch)
    keys = Random.keyed(np, lesson.seed, f"universal {level} {epoch}", lesson.index).integers(0, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return order[part * _BATCH : (part + 1) * _BATCH]


def _shifted(scene: Scene, delta: Array, threat: Threat, eps: str, space: Space) -> Array:
    """x + delta inside the domain and each example's own ball."""
    xp = scene.xp
    units = Grid(threat, space).units(np.full(len(scene.index), threat.eps.index(eps)))
    ball = Ball(xp, scene.x, xp.asarray(units), threat.norm, scene.classifier.domain)
    return ball.project(scene.x + delta[None])


def _room(domain: Box | None) -> Box | None:
    """Where the perturbation itself lives: as far as the domain is wide."""
    return None if domain is None else (domain[0] - domain[1], domain[1] - domain[0])


def _untaught(scene: Scene, setting: Setting) -> Any:
    raise AssertionError(f"{scene.name} has not been learnt")
