"""Sign-OPT: the nearest adversarial example in L2 by decisions alone, as descent on the distance along a ray.

Cheng et al. 2020, "Sign-OPT: a query-efficient hard-label adversarial attack", algorithm 1. The distance g(u) to the
boundary along a unit direction u falls where the point at distance g(u) along u + probe still reaches the goal: one
query tells the sign of each directional derivative. The step grows while it pays and else shrinks.
"""

from itertools import count

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import Decisions, begin, to_boundary
from auditor.attacks.norms import distance, per_row, steepest
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

SMOOTHING = 0.01  # length of a probe, as a share of the unit direction
STEP = 0.2  # the first step's length
TRIES = 12  # steps of growing or shrinking length after one estimate


def sign_opt(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "L2",
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    probes: int = 100,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    probes: signs from which each descent direction is estimated. start: (n, *shape), where the search begins; a row
    that is x begins at random points. At most `queries` forwards per example, of which only the largest score is
    looked at. Gives the nearest point that is nearer than the ceiling.
    """
    xp = classifier.xp
    asked = Decisions(classifier, x, y, norm="L2", ceiling=ceiling, queries=queries, active=active)
    edge, known = begin(asked, rng.split("start"), start)
    edge = to_boundary(asked, edge, known)
    step = xp.full(x.shape[0], STEP)
    for t in count():
        alive = known & asked.alive
        if not xp.any(alive):
            break
        downhill = _descent(asked, edge, rng.split(f"descent {t}"), probes, alive)
        edge, step = _walked(asked, edge, downhill, step, alive)
    return asked.attempt()


def _along(asked: Decisions, edge: Array, change: Array) -> Array:
    """The point as far from x as the edge, in the edge's unit direction plus `change` (n, *shape)."""
    xp, x = asked.xp, asked.x
    ray = steepest(xp, steepest(xp, edge - x, "L2") + change, "L2")
    return asked.inside(x + ray * per_row(distance(xp, edge, x, "L2"), x).astype(xp.float32))


def _descent(asked: Decisions, edge: Array, rng: Random, probes: int, rows: Array) -> Array:
    """The mean of random unit directions, each turned to where the distance to the boundary falls."""
    xp, x = asked.xp, asked.x
    total = xp.zeros_like(x)
    for probe in range(probes):
        u = steepest(xp, rng.bell(probe, x.shape[1:]), "L2")
        nearer = asked.broken(_along(asked, edge, SMOOTHING * u), rows, probe=True)
        total = total + xp.where(per_row(nearer, x), u, -u)
    return steepest(xp, total, "L2")


def _walked(asked: Decisions, edge: Array, downhill: Array, step: Array, rows: Array) -> tuple[Array, Array]:
    """The boundary point along the best of several steps downhill, and the step for the next time: each row doubles
    its step while the distance falls, or else halves it until the distance falls once."""
    xp = asked.xp
    best, origin, growing, shrinking = edge, edge, rows, rows
    for _ in range(TRIES):
        trying = (growing | shrinking) & asked.alive
        if not xp.any(trying):
            break
        ray = _along(asked, origin, downhill * per_row(step, edge).astype(xp.float32))
        shorter = distance(xp, best, asked.x, "L2") / xp.maximum(distance(xp, ray, asked.x, "L2"), 1e-30)
        point = asked.inside(asked.x + (ray - asked.x) * per_row(xp.minimum(shorter, 1.0), edge).astype(xp.float32))
        broken = asked.broken(point, trying)
        point = to_boundary(asked, point, broken, 1e-3)
        best = xp.where(per_row(broken, edge), point, best)
        failed = trying & ~broken
        # A row that grew and failed is done; one that has only failed goes on with smaller steps, and ends at success.
        grew = broken & growing
        growing, shrinking = grew, shrinking & failed
        step = xp.where(grew, 2 * step, xp.where(failed, step / 2, step))
    return best, step
