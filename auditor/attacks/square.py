"""Square: random search over square patches, by class scores alone.

Andriushchenko et al. 2020, "Square attack: a query-efficient black-box adversarial attack via random search",
algorithms 1 to 3; L1 as in Croce & Hein 2021, "Mind the box", section 4. It needs no gradient, and so shows where
gradients mislead.

An input of any rank is looked at as (channels, height, width), see `Planes`; where the width is 1, a square is a run
of neighbouring features.
"""

from math import ceil, prod, sqrt
from typing import Any

import numpy as np

from auditor.attacks.attempt import Attempt, Strongest, margin
from auditor.attacks.norms import Ball, elsewhere, length, per_row
from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.classifier import Array, Classifier
from auditor.spec import Layout, Norm

# The share of the image that a patch covers halves at these shares of the budget (the paper's schedule).
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def square(
    classifier: Classifier,
    x: Array,
    y: Array,
    *,
    eps: Array,
    norm: Norm,
    rng: Random,
    active: Array | None = None,
    queries: int = 5000,
    share: float = 0.8,
    horizon: int | None = None,
    layout: Layout = "NCHW",
    start: Array | None = None,
) -> Attempt:
    """x: (n, *shape) float32, y: (n,) int64, eps: (n,) float64 in input units.

    share: the share of the image that the first patches cover; horizon: the number of queries over which they shrink,
    `queries` unless given; start: (n, *shape), where the search begins,
    projected; a row that is x begins at stripes or bumps, as in the paper. At most `queries` forwards per example, none once it
    is safely broken. Every point given lies in the ball and in the domain.
    """
    xp = classifier.xp
    active = xp.ones(x.shape[0], dtype=bool) if active is None else active
    view = Planes(xp, x.shape[1:], layout)
    planes = view.planes(x)
    ball = Ball(xp, planes, eps, norm, classifier.domain)
    best = Strongest(classifier, x, y)
    propose = _linf_patch if norm == "Linf" else _moved_mass
    draw = _Draw(rng)
    current = ball.project(_stripes(draw, ball) if norm == "Linf" else _tiles(draw, ball))
    if start is not None:
        current = xp.where(per_row(elsewhere(xp, start, x), planes), ball.project(view.planes(start)), current)
    largest, over = xp.full(x.shape[0], -xp.inf, dtype=xp.float32), horizon or queries
    for query in range(queries):
        alive = active & ~best.done
        if not xp.any(alive):
            break
        trial = current if query == 0 else ball.project(propose(draw, ball, current, patch(query / over, share)))
        back = view.restored(trial)
        logits = classifier.logits(back, active=alive)
        best.see(back, logits, alive)
        gap = margin(xp, logits, y)
        better = alive & (gap > largest)
        largest = xp.where(better, gap, largest)
        current = xp.where(per_row(better, current), trial, current)
    return best.attempt(x)


def patch(progress: float, share: float) -> float:
    """The share of the image that a patch covers when `progress` of the budget is spent."""
    return share / 2 ** sum(progress > mark for mark in HALVINGS)


class _Draw:
    """Random numbers one after another, drawn ahead in blocks: a proposal needs few, and a draw of few costs almost
    as much as one of many."""

    BLOCK = 1024

    def __init__(self, rng: Random) -> None:
        self.rng, self.step, self.used = rng, 0, 0
        self.ahead = rng.uniform(0, (0,))

    def _uniform(self, shape: tuple[int, ...]) -> Array:
        """(n, *shape) float32 in [0, 1)"""
        count = prod(shape)
        if self.used + count > self.ahead.shape[1]:
            self.step, self.used = self.step + 1, 0
            self.ahead = self.rng.uniform(self.step, (max(self.BLOCK, count),))
        self.used += count
        return self.ahead[:, self.used - count : self.used].reshape((-1, *shape))

    def signs(self, shape: tuple[int, ...]) -> Array:
        return self.rng.xp.where(self._uniform(shape) < 0.5, np.float32(-1), np.float32(1))

    def below(self, bound: int) -> Array:
        """(n,) int64 in [0, bound)"""
        return (self._uniform(()) * bound).astype(self.rng.xp.int64)


def _stripes(draw: _Draw, ball: Ball) -> Array:
    """Vertical stripes one pixel wide, +eps or -eps: where convolutional networks are weak (section 3.2)."""
    xp, (_, c, h, w) = ball.xp, ball.x.shape
    up = draw.signs((c, 1, w) if w > 1 else (c, h, 1)) > 0
    return xp.where(up, ball.upper, ball.lower)


def _linf_patch(draw: _Draw, ball: Ball, current: Array, share: float) -> Array:
    """Algorithm 2: one square, +eps or -eps in each channel."""
    xp, (_, c, h, w) = ball.xp, ball.x.shape
    rows, columns = window(share, h, w)
    inside = _at(xp, draw.below(h - rows + 1), rows, h)[:, None, :, None]
    inside = inside & _at(xp, draw.below(w - columns + 1), columns, w)[:, None, None, :]
    up = draw.signs((c, 1, 1)) > 0
    return xp.where(inside, xp.where(up, ball.upper, ball.lower), current)


def _tiles(draw: _Draw, ball: Ball) -> Array:
    """Bumps on a grid of five by five windows, each of one sign per channel."""
    xp, (n, c, h, w) = ball.xp, ball.x.shape
    side, across = max(h // 5, 1), max(w // 5, 1)
    tile = xp.asarray(eta(side, across, ball.norm))
    down, right = -(-h // side), -(-w // across)
    signs = draw.signs((c, down, right))
    pattern = signs[:, :, :, None, :, None] * tile[None, None, None, :, None, :]
    pattern = pattern.reshape((n, c, down * side, right * across))[:, :, :h, :w]
    return ball.x + _of_length(xp, pattern, ball.eps, ball.norm)


def _moved_mass(draw: _Draw, ball: Ball, current: Array, share: float) -> Array:
    """Algorithm 3: a bump is added in one window, and pays with its channel's share of the budget left over and with
    what lay in that window and a second one. In L1 each channel spends what all may, as in AutoAttack, and the
    projection keeps the largest."""
    xp, norm, (n, c, h, w) = ball.xp, ball.norm, ball.x.shape
    rows, columns = window(share, h, w, odd=True)
    delta = current - ball.x
    masks, corner = [], (xp.zeros(n, dtype=xp.int64), xp.zeros(n, dtype=xp.int64))
    for _ in range(2):
        corner_here = (draw.below(h - rows + 1), draw.below(w - columns + 1))
        inside = _at(xp, corner_here[0], rows, h)[:, None, :, None]
        masks.append(inside & _at(xp, corner_here[1], columns, w)[:, None, None, :])
        corner = corner_here if len(masks) == 1 else corner
    first, second = masks
    zero = xp.float32(0)
    power = 1 if norm == "L1" else 2
    paid = _per_channel(xp, xp.where(first | second, delta, zero), norm)
    spare = xp.maximum(ball.eps**power - length(xp, delta, norm) ** power, xp.zeros_like(ball.eps))
    budget = (paid**power + spare[:, None] / c) ** (1 / power) * (c if norm == "L1" else 1)

    i, j = xp.arange(rows), xp.arange(columns)
    at = (xp.arange(n)[:, None, None], corner[0][:, None, None] + i[None, :, None], corner[1][:, None, None] + j)
    upright, turned = xp.asarray(eta(rows, columns, norm)), xp.asarray(eta(columns, rows, norm).T.copy())
    bump = xp.where(draw.signs((1, 1)) > 0, upright, turned)
    placed = xp.zeros((n, h, w), dtype=xp.float32)
    placed[at] = bump
    old = _channels_of_length(xp, xp.where(first, delta, zero), xp.ones_like(budget), norm)
    new = _channels_of_length(xp, placed[:, None, :, :] * draw.signs((c, 1, 1)) + old, budget, norm)
    moved = xp.where(first | second, zero, delta) + xp.where(first, new, zero)
    return ball.x + (moved if norm == "L1" else _of_length(xp, moved, ball.eps, norm))


def eta(rows: int, columns: int, norm: Norm) -> np.ndarray:
    """Two pyramids of opposite sign and equal length, one below the other, of unit length (the paper's eta)."""
    top = _pyramid(max(rows // 2, 1), columns, norm)
    halves = [top, -_pyramid(rows - rows // 2, columns, norm)] if rows > 1 else [top]
    return (np.concatenate(halves) / len(halves) ** (1 if norm == "L1" else 0.5)).astype(np.float32)


def _pyramid(rows: int, columns: int, norm: Norm) -> np.ndarray:
    """Nested rectangles around the middle, each weighing 1 / k^2, in L1 1 / k^4; of unit length."""
    i, j = np.ogrid[:rows, :columns]
    ring = np.maximum(np.abs(i - rows // 2), np.abs(j - columns // 2)) + 1
    largest = max(rows, columns) // 2 + 1
    height = np.sum([(ring <= k) / float(k) ** (4 if norm == "L1" else 2) for k in range(1, largest + 1)], axis=0)
    return height / np.linalg.norm(height.reshape(-1), 1 if norm == "L1" else 2)


def window(share: float, h: int, w: int, *, odd: bool = False) -> tuple[int, int]:
    """Rows and columns of the square whose size is nearest to `share` of the image; a run of rows where the width is 1.

    odd: at least three rows, and an odd number of them in a square, as AutoAttack has them for its bumps.
    """
    least = 3 if odd else 1
    if w == 1:
        return min(max(ceil(share * h), least), h), 1
    side = max(round(sqrt(share * h * w)), least)
    side += odd and side % 2 == 0
    return min(side, h), min(side, w)


def _at(xp: Any, start: Array, count: int, size: int) -> Array:
    """(n, size) bool: positions start to start + count."""
    position = xp.arange(size)[None, :]
    return (position >= start[:, None]) & (position < start[:, None] + count)


def _of_length(xp: Any, delta: Array, wanted: Array, norm: Norm) -> Array:
    """wanted: (n,)"""
    size = length(xp, delta, norm)
    scale = xp.where(size > 0, wanted / xp.where(size > 0, size, 1.0), 0.0)
    return delta * per_row(scale, delta).astype(xp.float32)


def _per_channel(xp: Any, delta: Array, norm: Norm) -> Array:
    """(n, c) float64: the length of each channel."""
    n, c, h, w = delta.shape
    return length(xp, delta.reshape((n * c, h, w)), norm).reshape((n, c))


def _channels_of_length(xp: Any, delta: Array, wanted: Array, norm: Norm) -> Array:
    """wanted: (n, c)"""
    size = _per_channel(xp, delta, norm)
    scale = xp.where(size > 0, wanted / xp.where(size > 0, size, 1.0), 0.0)
    return delta * scale[:, :, None, None].astype(xp.float32)
