"""Images moved in pieces, as a linear map with its exact adjoint: what a gradient needs on its way back.

A warp turns, scales and moves blocks of an image, each by itself, and reads between pixels by bilinear interpolation.
Both directions are sums over few neighbours of each pixel: nothing is scattered, so that the order of sums is fixed.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

from auditor.classifier import Array


@dataclass(frozen=True)
class Warp:
    """Where each pixel comes from and where it goes, row by row (n images of h x w pixels).

    source: (n, 2, h, w) float32, the point of the original that each pixel of the result shows.
    goal: (n, 2, h, w) float32, the inverse: the point of the result at which each pixel of the original lies.
    turn: (n, 2, h, w) float32, (a, b) for each pixel of the original: one step in the result is a step turned by
        ((a, -b), (b, a)) in the original; a**2 + b**2 >= 1/4, a warp enlarges to twice the size at most.
    shown, block: (n, h, w) int64, the block that a pixel of the result shows (-1 for none) and the block that a pixel
        of the original belongs to. No pixel is mixed with another block's.
    """

    xp: Any
    source: Array
    goal: Array
    turn: Array
    shown: Array
    block: Array

    @classmethod
    def of(cls, xp: Any, source: Array, goal: Array, turn: Array, shown: Array, block: Array) -> "Warp":
        """The same, from points in any precision."""
        f = xp.float32
        return cls(xp, source.astype(f), goal.astype(f), turn.astype(f), shown, block)

    def apply(self, planes: Array) -> Array:
        """The warped images. (n, channels, h, w) -> the same shape"""
        xp, result = self.xp, self.xp.zeros_like(planes)
        base = xp.floor(self.source).astype(xp.int64)
        for step in product((0, 1), repeat=2):
            i, j = base[:, 0] + step[0], base[:, 1] + step[1]
            away = (self.source[:, 0] - i, self.source[:, 1] - j)
            result = result + self._taken(planes, i, j, self.block, self.shown, _hat(xp, *away))
        return result

    def pull(self, g: Array) -> Array:
        """The adjoint: sum(apply(x) * g) = sum(x * pull(g)). (n, channels, h, w) -> the same shape"""
        xp, result = self.xp, self.xp.zeros_like(g)
        base = xp.floor(self.goal).astype(xp.int64)
        a, b = self.turn[:, 0], self.turn[:, 1]
        for step in product((-1, 0, 1, 2), repeat=2):  # the result's pixels that may show this one
            i, j = base[:, 0] + step[0], base[:, 1] + step[1]
            down, right = i - self.goal[:, 0], j - self.goal[:, 1]
            away = (a * down - b * right, b * down + a * right)
            result = result + self._taken(g, i, j, self.shown, self.block, _hat(xp, *away))
        return result

    def _taken(self, planes: Array, i: Array, j: Array, theirs: Array, ours: Array, weight: Array) -> Array:
        """weight * planes at (i, j), zero outside the image and where the blocks differ."""
        xp, (_, _, h, w) = self.xp, planes.shape
        inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
        at = xp.where(inside, i * w + j, 0).reshape((planes.shape[0], -1))
        same = xp.take_along_axis(theirs.reshape(at.shape), at, axis=1).reshape(ours.shape) == ours
        weight = xp.where(inside & same & (ours >= 0), weight, xp.zeros_like(weight)).astype(xp.float32)
        flat = planes.reshape((*planes.shape[:2], -1))
        index = xp.broadcast_to(at[:, None, :], flat.shape)
        return xp.take_along_axis(flat, index, axis=2).reshape(planes.shape) * weight[:, None]


def _hat(xp: Any, down: Array, right: Array) -> Array:
    """The bilinear weight of a pixel that lies so far away."""
    zero = xp.zeros_like(down)
    return xp.maximum(1 - xp.abs(down), zero) * xp.maximum(1 - xp.abs(right), zero)


def resized(xp: Any, draws: Array, h: int, w: int, *, chance: float, smallest: float) -> Warp:
    """Each image, with probability `chance`, shrunk to a share of its size from `smallest` to 1 and laid at a random
    place on black. draws: (n, 4) float32, uniform in [0, 1)"""
    one = xp.ones_like(draws[:, 0])
    share = xp.where(draws[:, 0] < chance, smallest + (1 - smallest) * draws[:, 1], one).astype(xp.float32)
    return scaled(xp, share, draws[:, 2:], h, w)


def scaled(xp: Any, share: Array, place: Array, h: int, w: int) -> Warp:
    """Each image at a share of its size, (n,) float32 above 0 and at most 2: a smaller one laid on black, of a larger one a
    part. place: (n, 2) float32 in [0, 1], how far down and to the right, out of what room there is."""
    rows, columns = grid(xp, h, w)
    share = share[:, None, None]
    top, left = place[:, 0, None, None] * (1 - share) * h, place[:, 1, None, None] * (1 - share) * w
    down, right = rows + 0.5 - top, columns + 0.5 - left
    inside = (down >= 0) & (down < share * h) & (right >= 0) & (right < share * w)
    source = xp.stack([down / share - 0.5, right / share - 0.5], axis=1)
    goal = xp.stack([(rows + 0.5) * share + top - 0.5, (columns + 0.5) * share + left - 0.5], axis=1)
    steeper = xp.broadcast_to(1 / share, inside.shape)
    turn = xp.stack([steeper, xp.zeros_like(steeper)], axis=1)
    shown = xp.where(inside, 0, -1)
    return Warp.of(xp, source, goal, turn, shown, xp.zeros_like(shown))


def grid(xp: Any, h: int, w: int) -> tuple[Array, Array]:
    """Row and column of each pixel, (1, h, w) float32 each."""
    rows = xp.broadcast_to(xp.arange(h, dtype=xp.float32)[None, :, None], (1, h, w))
    return rows, xp.broadcast_to(xp.arange(w, dtype=xp.float32)[None, None, :], (1, h, w))
