"""RayS: the nearest adversarial example in Linf by decisions alone, as a search over the signs of a ray.

Chen & Gu 2020, "RayS: a ray searching method for hard-label adversarial attack", algorithms 1 and 3 (hierarchical
search). A direction is a sign per coordinate; flipping a block of signs is kept when the point at the best radius
still reaches the goal, and only then the radius is bisected. It needs no step size.
"""

from typing import Any

from auditor.attacks.attempt import Attempt
from auditor.attacks.decisions import Decisions, begin
from auditor.attacks.norms import distance, elsewhere, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Norm

FINEST = 1e-3  # of the distance, where a bisection ends; the paper has 1e-3 of the domain


def rays(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    ceiling: Array,
    norm: Norm = "Linf",
    rng: Random,
    active: Array | None = None,
    queries: int = 2000,
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, ceiling: (n,) float64 in input units, inf where none is known.

    start: (n, *shape), whose signs around x the search begins with; a row that is x begins with all ones, or at random
    points where these do not reach the goal. At most `queries` forwards per example, of which only the largest score
    is looked at. Gives the nearest point that is nearer than the ceiling.
    """
    xp, n = classifier.xp, x.shape[0]
    asked = Decisions(classifier, x, y, norm="Linf", ceiling=ceiling, queries=queries, active=active)
    lower, upper = asked.box()
    ones = asked.inside(x + (upper - lower))
    first = ones if start is None else xp.where(per_row(elsewhere(xp, start, x), x), start, ones)
    x_adv, _ = begin(asked, rng.split("start"), first)
    # A coordinate that does not move is pushed out of the box, and stays.
    outward = xp.where(x_adv == x, x - (lower + upper) / 2, x_adv - x)
    signs, high = xp.where(outward < 0, xp.float32(-1), xp.float32(1)), distance(xp, x_adv, x, "Linf")
    known = asked.broken(_at(asked, signs, high), asked.alive)
    low, level, block = xp.zeros_like(high), xp.zeros(n, dtype=xp.int64), xp.zeros(n, dtype=xp.int64)
    while xp.any(asked.alive):
        bisecting = known & (high - low > FINEST * high)
        blocks = xp.minimum(2**level, asked.d)
        flipped = _flipped(xp, signs, blocks, block)
        trial = xp.where(per_row(bisecting, x), signs, flipped)
        radius = xp.where(bisecting, (low + high) / 2, high)
        broken = asked.broken(_at(asked, trial, radius), asked.alive)
        known = known | broken
        signs, high = xp.where(per_row(broken, x), trial, signs), xp.where(broken, radius, high)
        low = xp.where(bisecting, xp.where(broken, low, radius), xp.where(broken, 0.0, low))
        last = ~bisecting & (block + 1 == blocks)
        block = xp.where(last, 0, block + ~bisecting)
        level = xp.where(last, xp.where(blocks < asked.d, level + 1, 0), level)
    return asked.attempt()


def _flipped(xp: Any, signs: Array, blocks: Array, block: Array) -> Array:
    """The signs, cut into `blocks` (n,) of nearly equal size, with the one at `block` (n,) turned round."""
    flat = signs.reshape((signs.shape[0], -1))
    position = xp.arange(flat.shape[1], dtype=xp.int64)[None, :]
    inside = (position * blocks[:, None]) // flat.shape[1] == block[:, None]
    return xp.where(inside, -flat, flat).reshape(signs.shape)


def _at(asked: Decisions, signs: Array, radius: Array) -> Array:
    return asked.inside(asked.x + signs * per_row(radius, signs).astype(asked.xp.float32))
