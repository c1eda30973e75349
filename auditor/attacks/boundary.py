"""Boundary: the nearest adversarial example in L2 by decisions alone, as a random walk along the boundary.

Brendel, Rauber & Bethge 2018, "Decision-based adversarial attacks: reliable attacks against black-box machine learning
models", algorithm 1. A step is random on the sphere around x and then goes towards x. The step on the sphere is kept
so long that about half of such steps alone still reach the goal, the step towards x so long that a quarter of those
that do still reach it afterwards.
"""

from itertools import count

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import Decisions, begin, to_boundary
from auditor.attacks.norms import distance, length, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

FIRST = 0.1  # both steps at first, as shares of the distance
RATES = (0.5, 0.25)  # of success, on the sphere and towards x, that are aimed at
PACE = 0.1  # by how much one success lengthens a step; failures shorten it so that the rates are held


def boundary(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L2",
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    start: (n, *shape), where the walk begins; a row that is x begins at random points. Steps adapt after each query,
    where the paper counts successes over many. At most `queries` forwards per example, of which only the largest
    score is looked at. Gives the nearest point that is nearer than the ceiling.
    """
    xp = classifier.xp
    asked = Decisions(classifier, x, y, norm="L2", ceiling=ceiling, queries=queries, active=active)
    edge, known = begin(asked, rng.split("start"), start)
    edge = to_boundary(asked, edge, known)
    around, inward = xp.full(x.shape[0], FIRST), xp.full(x.shape[0], FIRST)
    for step in count():
        if not xp.any(known & asked.alive):
            break
        beside = _on_sphere(asked, edge, steepest(xp, rng.bell(step, x.shape[1:]), "L2"), around)
        reached = asked.broken(beside, known)
        nearer = asked.inside(x + (beside - x) * per_row(1 - inward, x).astype(xp.float32))
        arrived = asked.broken(nearer, reached)
        edge = xp.where(per_row(arrived, x), nearer, edge)
        around = xp.minimum(_adapted(around, reached, known, RATES[0], asked), 1.0)
        inward = xp.minimum(_adapted(inward, arrived, reached, RATES[1], asked), 0.5)
    return asked.attempt()


def _on_sphere(asked: Decisions, edge: Array, u: Array, size: Array) -> Array:
    """The edge moved by `size` (n,) of its distance from x along the part of u that is orthogonal to x - edge, and
    brought back to that distance."""
    xp, x = asked.xp, asked.x
    apart = distance(xp, edge, x, "L2")
    ray = steepest(xp, edge - x, "L2")
    along = xp.sum((u * ray).reshape((u.shape[0], -1)), axis=1)
    moved = ray + per_row(size, x).astype(xp.float32) * (u - per_row(along, u) * ray)
    scale = apart / xp.maximum(length(xp, moved, "L2"), 1e-30)
    return asked.inside(x + moved * per_row(scale, x).astype(xp.float32))


def _adapted(size: Array, success: Array, tried: Array, rate: float, asked: Decisions) -> Array:
    """Longer after a success and shorter after a failure; in balance where `rate` of the tries succeed."""
    xp = asked.xp
    longer, shorter = 1 + PACE, (1 + PACE) ** (-rate / (1 - rate))
    return size * xp.where(success, longer, xp.where(tried, shorter, 1.0))
