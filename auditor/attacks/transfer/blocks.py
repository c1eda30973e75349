"""Images cut into blocks that change places and turn.

Wang et al. 2024, "Boosting adversarial transferability by block shuffle and rotation", section 3.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians
from typing import Any

from auditor.attacks.random import Random
from auditor.attacks.transfer.warp import Warp, grid
from auditor.classifier import Array


def shuffled(xp: Any, rng: Random, h: int, w: int, *, blocks: int, degrees: float) -> Warp:
    """The rows are cut at random into `blocks` strips that change places, each strip into `blocks` blocks that change
    places within it, and each block turns about its centre by at most `degrees`."""
    strips = _Cut.at_random(xp, rng.split("strips"), blocks, h)
    across = [_Cut.at_random(xp, rng.split(f"strip {strip}"), blocks, w) for strip in range(blocks)]
    angles = (2 * rng.uniform(0, (blocks * blocks,)) - 1) * radians(degrees)
    rows, columns = grid(xp, h, w)

    shown, by, centre = _blocks(xp, strips, across, [strips.shown, *(cut.shown for cut in across)])
    cos, sin = _turns(xp, angles, shown)
    i, j = rows + by[0] - centre[0], columns + by[1] - centre[1]
    source = xp.stack([cos * i - sin * j + centre[0], sin * i + cos * j + centre[1]], axis=1)

    own, by, centre = _blocks(xp, strips, across, [strips.own, *(cut.own for cut in across)])
    cos, sin = _turns(xp, angles, own)
    i, j = rows - centre[0], columns - centre[1]
    goal = xp.stack([cos * i + sin * j + centre[0] - by[0], cos * j - sin * i + centre[1] - by[1]], axis=1)
    turn = xp.stack([cos, sin], axis=1)
    return Warp.of(xp, source, goal, turn, shown, own)


@dataclass(frozen=True)
class _Cut:
    """An axis cut into pieces that change places, row by row.

    own, shown: (n, size) int64, the piece that each position belongs to before, and that it shows after.
    by: (n, pieces) float32, how far from a position after the one lies that it shows. centre: (n, pieces), before.
    """

    own: Array
    shown: Array
    by: Array
    centre: Array

    @classmethod
    def at_random(cls, xp: Any, rng: Random, pieces: int, size: int) -> "_Cut":
        shares = xp.cumulative_sum(rng.uniform(0, (pieces,)) + xp.float32(2.0**-24), axis=1)
        ends = xp.floor(shares / shares[:, -1:] * size + 0.5).astype(xp.int64)
        starts = xp.concat([xp.zeros_like(ends[:, :1]), ends[:, :-1]], axis=1)
        order = xp.argsort(rng.uniform(1, (pieces,)), axis=1, stable=True)
        after = xp.cumulative_sum(xp.take_along_axis(ends - starts, order, axis=1), axis=1)
        new_ends = xp.take_along_axis(after, xp.argsort(order, axis=1, stable=True), axis=1)
        new_starts = new_ends - (ends - starts)
        position = xp.arange(size)[None, :, None]
        own, shown = (
            xp.argmax((position >= start[:, None, :]) & (position < end[:, None, :]), axis=2)
            for start, end in ((starts, ends), (new_starts, new_ends))
        )
        by, centre = starts - new_starts, (starts + ends - 1) / 2
        return cls(own, shown, by.astype(xp.float32), centre.astype(xp.float32))


def _blocks(
    xp: Any, strips: _Cut, across: Sequence[_Cut], pieces: Sequence[Array]
) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """The block of each pixel, how far its block moves and where its centre lies (down and right), from the piece of
    each row and, per strip, of each column. (n, h, w) each, or (n, h, 1)"""
    strip = pieces[0][:, :, None]

    def down(values: Array) -> Array:
        return xp.take_along_axis(values, pieces[0], axis=1)[:, :, None]

    def right(values: Sequence[Array]) -> Array:
        """values: per strip (n, w)"""
        return xp.take_along_axis(xp.stack(values, axis=1), strip, axis=1)

    moved, centre = (
        [xp.take_along_axis(getattr(cut, name), piece, axis=1) for cut, piece in zip(across, pieces[1:], strict=True)]
        for name in ("by", "centre")
    )
    block = strip * len(across) + right(pieces[1:])
    return block, (down(strips.by), right(moved)), (down(strips.centre), right(centre))


def _turns(xp: Any, angles: Array, block: Array) -> tuple[Array, Array]:
    """Cosine and sine of each pixel's block's angle. (n, h, w)"""
    angle = xp.take_along_axis(angles, block.reshape((block.shape[0], -1)), axis=1).reshape(block.shape)
    return xp.cos(angle), xp.sin(angle)
