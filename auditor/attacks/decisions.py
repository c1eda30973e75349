"""A classifier that is asked for nothing but its decisions, as decision-based attacks see it."""

from math import prod
from typing import Any

from auditor.attacks.attempt import Attempt, Nearest
from auditor.attacks.norms import box, distance, elsewhere, per_row
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.data.domain import bounds
from auditor.spec import Norm

# Bisections end at this share of the distance: nearer to the boundary, a find may turn correct under another rounding.
FINEST = 1e-4
STARTS = 64  # random points that are tried before an example is given up
LOOKS = 16  # of them, tried at NEARER of the distance once one is found: another boundary may be nearer
NEARER = 0.8


class Decisions:
    """What a decision-based attack may ask and what it remembers: per row, the nearest point that reaches the goal
    among those it has shown, and how many queries are left.

    The goal is another class than y. A row whose queries are used up answers no more: it reads
    as not broken, and is not `alive`.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Array,
        y: Array,
        *,
        norm: Norm,
        ceiling: Array,
        queries: int,
        active: Array | None = None,
    ) -> None:
        xp = self.xp = classifier.xp
        n = x.shape[0]
        self.x, self.norm = x, norm
        self._classifier, self._y, self._ceiling = classifier, y, ceiling
        self._active = xp.ones(n, dtype=bool) if active is None else active
        self._nearest = Nearest(classifier, x, xp.zeros(n, dtype=xp.int64), norm, ceiling)
        self.left = xp.full(n, queries, dtype=xp.int64)
        self.d = prod(x.shape[1:])

    @property
    def alive(self) -> Array:
        """(n,) bool: rows that may still be asked for, and that could come nearer."""
        return self._active & (self.left > 0) & (self._nearest.distance > 0)

    def broken(self, x_adv: Array, rows: Array, *, probe: bool = False) -> Array:
        """Which of `rows` (n,) reach the goal at x_adv, one query each; a probe is not remembered. (n,) bool"""
        xp = self.xp
        rows = rows & self.alive
        if not xp.any(rows):
            return rows
        logits = self._classifier.logits(x_adv, active=rows)
        self.left = self.left - rows
        reached = rows & (xp.argmax(logits, axis=1) != self._y) & xp.all(xp.isfinite(logits), axis=1)
        if probe:
            return reached
        # To what remembers by scores, the decision is a score of 1 against 0.
        return self._nearest.see(x_adv, xp.stack([~reached, reached], axis=1).astype(xp.float32), rows)

    def inside(self, x_adv: Array) -> Array:
        """The nearest point of the domain."""
        return self.xp.clip(x_adv, *bounds(self._classifier.domain))

    def box(self) -> tuple[Array, Array]:
        """See `norms.box`."""
        return box(self.xp, self.x, self._classifier.domain)

    def attempt(self) -> Attempt:
        return self._nearest.attempt(nearer_than=self._ceiling)


def begin(asked: Decisions, rng: Random, start: Array | None) -> tuple[Array, Array]:
    """A point that reaches the goal for each row that has one, and which rows these are: (n, *shape), (n,) bool.

    `start` where it differs from x and reaches the goal, else random points of the box, since one kind of noise often
    is of one class whatever its numbers. One query tells whether x itself reaches the goal already.
    """
    xp, x = asked.xp, asked.x
    asked.broken(x, asked.alive)
    x_adv, known = x, xp.zeros(x.shape[0], dtype=bool)
    if start is not None:
        known = asked.broken(start, elsewhere(xp, start, x))
        x_adv = xp.where(per_row(known, x), start, x)
    lower, upper = asked.box()
    looks = xp.where(known, 0, LOOKS)
    for turn in range(STARTS):
        seeking = asked.alive & (looks > 0)
        if not xp.any(seeking):
            break
        drawn = asked.inside(lower + _noise(xp, rng, turn, x.shape[1:]) * (upper - lower))
        nearer = NEARER * distance(xp, x_adv, x, asked.norm)
        apart = distance(xp, drawn, x, asked.norm)
        drawn = toward(
            asked, drawn, xp.where(known & (apart > nearer), nearer / xp.where(apart > 0, apart, 1.0), 1.0)
        )
        found = asked.broken(drawn, seeking)
        x_adv, known = xp.where(per_row(found, x), drawn, x_adv), known | found
        looks = looks - known
    return x_adv, known


def _noise(xp: Any, rng: Random, turn: int, shape: tuple[int, ...]) -> Array:
    """(n, *shape) in [0, 1], by turns evenly distributed, zeros and ones in a random ratio, random walks along every
    axis."""
    if turn % 3 == 0:
        return rng.uniform(turn, shape)
    if turn % 3 == 1:
        ones = rng.uniform(turn, shape) < rng.split("ratio").uniform(turn, (1,) * len(shape))
        return ones.astype(xp.float32)
    noise = rng.normal(turn, shape)
    for axis in range(1, noise.ndim):
        noise = xp.cumulative_sum(noise, axis=axis)
    flat = noise.reshape((noise.shape[0], -1))
    low, high = xp.min(flat, axis=1), xp.max(flat, axis=1)
    span = xp.where(high > low, high - low, xp.ones_like(high))
    return (noise - per_row(low, noise)) / per_row(span, noise)


def toward(asked: Decisions, x_adv: Array, share: Array) -> Array:
    """The point at `share` (n,) of the distance from x to x_adv: on the segment between them; for Linf, x_adv clipped
    to a smaller ball; for L0, x_adv in the first so many of the features that differ."""
    xp, x = asked.xp, asked.x
    if asked.norm == "L0":
        differs = (x_adv != x).reshape((x.shape[0], -1))
        place = xp.cumulative_sum(differs.astype(xp.int64), axis=1)
        return xp.where((place <= (share * place[:, -1])[:, None]).reshape(x.shape), x_adv, x)
    if asked.norm == "Linf":
        radius = per_row(share * distance(xp, x_adv, x, "Linf"), x).astype(xp.float32)
        return asked.inside(xp.clip(x_adv, x - radius, x + radius))
    return asked.inside(x + per_row(share, x).astype(xp.float32) * (x_adv - x))


def to_boundary(asked: Decisions, x_adv: Array, rows: Array, finest: float = FINEST) -> Array:
    """Bisect between x and x_adv, which reaches the goal on `rows`, until `finest` of the distance; gives the end that
    reaches it."""
    xp = asked.xp
    low, high = xp.zeros(x_adv.shape[0]), xp.ones(x_adv.shape[0])
    nearest = x_adv
    while xp.any(rows & asked.alive & (high - low > finest)):
        middle = (low + high) / 2
        point = toward(asked, x_adv, middle)
        inside = rows & asked.alive & (high - low > finest)
        broken = asked.broken(point, inside)
        nearest = xp.where(per_row(broken, x_adv), point, nearest)
        high = xp.where(broken, middle, high)
        low = xp.where(inside & ~broken, middle, low)
    return nearest
