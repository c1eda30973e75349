"""SurFree: the nearest adversarial example in L2 by decisions alone, on circles instead of along estimated normals.

Maho, Furon & Le Merrer 2021, "SurFree: a fast surrogate-free black-box attack", algorithm 1. Seen from a point on the
boundary at distance r from x, every plane through both holds a circle whose point at angle a is r cos(a) from x; the
attack looks for the largest angle that still reaches the goal. Directions are drawn from the lower frequencies of an
image, and are not made orthogonal to earlier ones, which they nearly are.
"""

from math import pi
from typing import Any

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import Decisions, begin, to_boundary
from auditor.attacks.norms import distance, per_row, steepest
from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.attacks.waves import Waves
from auditor.classifier import Array, Classifier
from auditor.spec import Layout, Norm

WIDEST = pi / 6  # the first of the angles tried
RUNGS = (1.0, -1.0, 2 / 3, -2 / 3, 1 / 3, -1 / 3)  # shares of the widest angle, one after another
GROWTH = 0.98  # by what the widest angle shrinks where no rung holds, and grows where one does
BISECTIONS = 3  # between the angle that holds and the next


def surfree(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L2",
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    share: float = 0.25,
    layout: Layout = "NCHW",
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    share: of an image's frequencies along each side, the lowest, that directions are drawn from. start: (n, *shape),
    where the search begins; a row that is x begins at random points. At most `queries` forwards per example, of which
    only the largest score is looked at. Gives the nearest point that is nearer than the ceiling.
    """
    xp, n = classifier.xp, x.shape[0]
    asked = Decisions(classifier, x, y, norm="L2", ceiling=ceiling, queries=queries, active=active)
    waves, rungs = Waves(Planes(xp, x.shape[1:], layout), share), xp.asarray(RUNGS)
    edge, known = begin(asked, rng.split("start"), start)
    edge = to_boundary(asked, edge, known)
    v = candidate = xp.zeros_like(x)
    widest, low, high, sign = xp.full(n, WIDEST), xp.zeros(n), xp.zeros(n), xp.ones(n)
    rung = bisections = xp.zeros(n, dtype=xp.int64)
    step = 0
    while xp.any(known & asked.alive):
        bisecting = bisections > 0
        anew = ~bisecting & (rung == 0)
        drawn = _across(xp, waves.noise(rng, step), edge - x)
        v = xp.where(per_row(anew, x), drawn, v)
        angle = xp.where(bisecting, sign * (low + high) / 2, widest * rungs[rung])
        point = _on_circle(asked, edge, v, angle)
        broken = asked.broken(point, known)
        candidate = xp.where(per_row(broken, x), point, candidate)
        size, sign = xp.abs(angle), xp.where(bisecting, sign, xp.sign(angle))
        low = xp.where(broken, size, low)
        high = xp.where(bisecting, xp.where(broken, high, size), size + widest / 3)
        failed = ~bisecting & ~broken & (rung == len(RUNGS) - 1)
        succeeded = bisections == 1
        bisections = xp.where(bisecting, bisections - 1, xp.where(broken, BISECTIONS, 0))
        rung = xp.where(bisecting | broken | failed, 0, rung + 1)
        edge = xp.where(per_row(succeeded, x), candidate, edge)
        widest = xp.where(failed, widest * GROWTH, xp.where(succeeded, xp.minimum(widest / GROWTH, WIDEST), widest))
        step += 1
    return asked.attempt()


def _across(xp: Any, drawn: Array, delta: Array) -> Array:
    """The part of `drawn` that is orthogonal to delta, of unit length."""
    along = steepest(xp, delta, "L2")
    share = xp.sum((drawn * along).reshape((drawn.shape[0], -1)), axis=1)
    return steepest(xp, drawn - per_row(share, drawn) * along, "L2")


def _on_circle(asked: Decisions, edge: Array, v: Array, angle: Array) -> Array:
    """The point at `angle` (n,) from the edge, on the circle through x and the edge in the plane that v spans."""
    xp, x = asked.xp, asked.x
    along, across = xp.cos(angle) ** 2, distance(xp, edge, x, "L2") * xp.cos(angle) * xp.sin(angle)
    moved = per_row(along, x).astype(xp.float32) * (edge - x) + per_row(across, x).astype(xp.float32) * v
    return asked.inside(x + moved)
