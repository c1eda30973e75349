"""Images read at fractional positions: GridSample and DeformConv.

A value there is a weighted sum of taps, entries of the image nearby. The cotangent of the image is scattered back to the
taps; that of a position is what the weights' slopes make of the entries (Jaderberg et al. 2015, section 3.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import vjp
from auditor.graph.build import Builder, shape_of

CUBIC = -0.75  # the coefficient of the convolution kernel, as ONNX Runtime has it


@dataclass(frozen=True)
class _Tap:
    """One entry per position. index: (n, p) int64 into the flattened image. weight: (n, p). slopes: (n, p) of the weight
    along each axis, None where there is none."""

    index: ir.Value
    weight: ir.Value
    slopes: list[ir.Value | None]


@dataclass(frozen=True)
class _Border:
    """Where an axis of an image ends, and what is read behind it: zeros, the border's entries, or the image reflected."""

    size: int
    low: float
    high: float
    mode: str

    def brought_inside(self, op: Builder, c: ir.Value) -> tuple[ir.Value, ir.Value | None]:
        """Positions as they are read, and their slopes; None where these are 1."""
        if self.mode == "zeros":
            return c, None
        if self.mode == "border":
            inside = op.Clip(c, op.const(0.0, like=c), op.const(self.size - 1.0, like=c))
            return inside, op.Cast(op.Equal(inside, c), to=c.dtype)
        if self.high == self.low:
            return op.Mul(c, op.const(0.0, like=c)), op.Mul(c, op.const(0.0, like=c))
        there, span = op.Sub(c, op.const(self.low, like=c)), self.high - self.low
        t = op.Mod(op.Abs(there), op.const(2 * span, like=c), fmod=1)
        back = op.Greater(t, op.const(span, like=c))
        folded = op.Add(op.Min(t, op.Sub(op.const(2 * span, like=c), t)), op.const(self.low, like=c))
        return folded, op.Mul(op.Sign(there), op.Where(back, op.const(-1.0, like=c), op.const(1.0, like=c)))


def _taps(op: Builder, positions: Sequence[ir.Value], borders: Sequence[_Border], mode: str) -> list[_Tap]:
    """positions: (n, p) along each axis, in entries."""
    along = [list(_taps_along(op, c, b, mode)) for c, b in zip(positions, borders, strict=True)]
    strides = [prod(b.size for b in borders[i + 1 :]) for i in range(len(borders))]
    found = []
    for chosen in product(*along):
        index = _sum(
            op, [op.Mul(i, op.const(float(s), like=i)) for (i, _, _), s in zip(chosen, strides, strict=True)]
        )
        weights = [w for _, w, _ in chosen]
        slopes = [
            None if s is None else _product(op, [s, *weights[:axis], *weights[axis + 1 :]])
            for axis, (_, _, s) in enumerate(chosen)
        ]
        found.append(_Tap(op.Cast(index, to=ir.DataType.INT64), _product(op, weights), slopes))
    return found


def _taps_along(op, c, border, mode):
    """Entry, weight and the weight's slope of each tap along one axis."""
    one = op.const(1.0, like=c)
    if mode == "nearest":
        c, _ = border.brought_inside(op, op.Round(c))
        yield from _masked(op, [(c, op.Expand(one, op.ints(shape_of(c))), None)], border)
        return
    linear = mode in ("linear", "bilinear")
    c, turn = border.brought_inside(op, c) if linear else (c, None)
    low = op.Floor(c)
    f = op.Sub(c, low)
    if linear:
        options = [(low, op.Sub(one, f), op.const(-1.0, like=c)), (op.Add(low, one), f, one)]
    else:
        options = [(op.Add(low, op.const(float(k), like=c)), *_cubic(op, f, k)) for k in (-1, 0, 1, 2)]
    if turn is not None:
        options = [(i, w, op.Mul(s, turn)) for i, w, s in options]
    yield from _masked(op, options, border)


def _cubic(op, f, k):
    """The kernel's weight of the entry k beyond the one below, f the fraction, and its slope in f (Keys 1981)."""
    a = CUBIC
    distance = op.Abs(op.Sub(f, op.const(float(k), like=f)))
    near = k in (0, 1)
    weight = (a + 2, -(a + 3), 0.0, 1.0) if near else (a, -5 * a, 8 * a, -4 * a)
    slope = (0.0, 3 * weight[0], 2 * weight[1], weight[2])
    direction = op.const(1.0 if k <= 0 else -1.0, like=f)
    return _polynomial(op, distance, weight), op.Mul(_polynomial(op, distance, slope), direction)


def _polynomial(op, x, coefficients):
    value = op.const(coefficients[0], like=x)
    for c in coefficients[1:]:
        value = op.Add(op.Mul(value, x), op.const(c, like=x))
    return value


def _masked(op, options, border):
    """Entries inside the image; outside, weightless ones."""
    for entry, weight, slope in options:
        low, high = op.const(0.0, like=entry), op.const(border.size - 1.0, like=entry)
        if border.mode == "zeros":
            inside = op.And(op.GreaterOrEqual(entry, low), op.LessOrEqual(entry, high))
            mask = op.Cast(inside, to=entry.dtype)
            weight, slope = op.Mul(weight, mask), None if slope is None else op.Mul(slope, mask)
        elif border.mode == "reflection":
            entry, _ = border.brought_inside(op, entry)
        yield op.Clip(entry, low, high), weight, slope


def _sum(op, values):
    return values[0] if len(values) == 1 else op.Sum(*values)


def _product(op, values):
    result = values[0]
    for value in values[1:]:
        result = op.Mul(result, value)
    return result


def _read(op, images, index):
    """images: (n, c, entries), index: (n, p) -> (n, c, p)."""
    return op.GatherElements(images, _for_channels(op, index, shape_of(images)[1]), axis=2)


def _for_channels(op, index, channels):
    n, p = shape_of(index)
    return op.Expand(op.Unsqueeze(index, op.ints([1])), op.ints([n, channels, p]))


def _values(op, images, taps):
    """What is read: (n, c, p)."""
    return _sum(op, [op.Mul(_read(op, images, t.index), op.Unsqueeze(t.weight, op.ints([1]))) for t in taps])


def _images_cotangent(op, g, taps, entries):
    """g: (n, c, p) -> (n, c, entries)."""
    n, c, _ = shape_of(g)
    updates = op.Concat(*(op.Mul(g, op.Unsqueeze(t.weight, op.ints([1]))) for t in taps), axis=2)
    index = _for_channels(op, op.Concat(*(t.index for t in taps), axis=1), c)
    zeros = op.Expand(op.const(0, like=g), op.ints([n, c, entries]))
    return op.ScatterElements(zeros, index, updates, axis=2, reduction="add")


def _positions_cotangent(op, g, images, taps, axis):
    """g: (n, c, p) -> (n, p): of the positions along one axis."""
    met = []
    for tap in taps:
        if tap.slopes[axis] is not None:
            along = op.ReduceSum(op.Mul(g, _read(op, images, tap.index)), op.ints([1]), keepdims=0)
            met.append(op.Mul(along, tap.slopes[axis]))
    return _sum(op, met) if met else None


def _flat(op, x):
    n, c, *size = shape_of(x)
    return op.Reshape(x, op.ints([n, c, prod(size)]))


def _grid_taps(op, x, grid, align_corners, mode, padding_mode):
    """The taps, and the slope of each axis' positions in the grid's numbers."""
    n, _, *size = shape_of(x)
    numbers = op.Reshape(grid, op.ints([n, prod(shape_of(grid)[1:-1]), len(size)]))
    parts = op.Split(numbers, num_outputs=len(size), axis=2, _outputs=len(size))
    positions, borders, scales = [], [], []
    for part, length in zip(reversed(parts), size, strict=True):  # a grid names the last axis first
        scale, offset = ((length - 1) / 2, (length - 1) / 2) if align_corners else (length / 2, (length - 1) / 2)
        c = op.Squeeze(part, op.ints([2]))
        positions.append(op.Add(op.Mul(c, op.const(scale, like=c)), op.const(offset, like=c)))
        edge = 0.0 if align_corners else 0.5
        borders.append(_Border(length, -edge, length - 1 + edge, padding_mode))
        scales.append(scale)
    return _taps(op, positions, borders, mode), scales


@vjp("GridSample", wrt=0)
def grid_sample(op, g, y, x, grid, *, align_corners=0, mode="linear", padding_mode="zeros"):
    taps, _ = _grid_taps(op, x, grid, align_corners, mode, padding_mode)
    gx = _images_cotangent(op, _flat(op, g), taps, prod(shape_of(x)[2:]))
    return op.Reshape(gx, op.ints(shape_of(x)))


@vjp("GridSample", wrt=1)
def grid_sample_grid(op, g, y, x, grid, *, align_corners=0, mode="linear", padding_mode="zeros"):
    if mode == "nearest":
        return None
    taps, scales = _grid_taps(op, x, grid, align_corners, mode, padding_mode)
    flat, images = _flat(op, g), _flat(op, x)
    found = [_positions_cotangent(op, flat, images, taps, axis) for axis in range(len(scales))]
    scaled = [op.Mul(c, op.const(s, like=c)) for c, s in zip(found, scales, strict=True)]
    joined = op.Concat(*(op.Unsqueeze(c, op.ints([2])) for c in reversed(scaled)), axis=2)
    return op.Reshape(joined, op.ints(shape_of(grid)))


@vjp("AffineGrid", wrt=0)
def affine_grid(op, g, y, theta, size, *, align_corners=0):
    """theta, (n, axes, axes + 1), times the homogeneous positions of the output's entries."""
    *_, axes = shape_of(y)
    lengths = shape_of(y)[1:-1]
    lines = [np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) for n in lengths]
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(lengths)], axis=-1)
    flat = op.Reshape(g, op.ints([shape_of(y)[0], prod(lengths), axes]))
    return op.MatMul(op.Transpose(flat, perm=[0, 2, 1]), op.const(places.reshape(-1, axes + 1), like=g))


class _Deformed:
    """A DeformConv (Dai et al. 2017; with a mask Zhu et al. 2019) as columns read at moved positions times its weights.

    One image is what the channels of one offset group share: n = examples * groups of offsets, p = kernel * outputs.
    """

    def __init__(self, op, y, x, w, offset, mask, attributes):
        self.op, self.x, self.w, self.mask = op, x, w, mask
        self.groups, self.moved = attributes.get("group", 1), attributes.get("offset_group", 1)
        n, c, *size = shape_of(x)
        self.kernel, self.out = shape_of(w)[2:], shape_of(y)[2:]
        k, p = prod(self.kernel), prod(self.out)
        self.n, self.c, self.columns = n, c, (n, c, k, p)
        self.images = op.Reshape(x, op.ints([n * self.moved, c // self.moved, prod(size)]))
        moves = op.Reshape(offset, op.ints([n * self.moved, k, 2, p]))
        places = _windows(self.kernel, self.out, attributes)
        borders = [_Border(s, 0.0, s - 1.0, "zeros") for s in size]
        positions = []
        for axis, part in enumerate(op.Split(moves, num_outputs=2, axis=2, _outputs=2)):
            flat = op.Reshape(part, op.ints([n * self.moved, k * p]))
            positions.append(op.Add(flat, op.const(places[axis].reshape(1, k * p), like=x)))
        self.taps = _taps(op, positions, borders, "linear")

    def values(self):
        """The columns before the mask: (n, c, k, p)."""
        return self.op.Reshape(_values(self.op, self.images, self.taps), self.op.ints(self.columns))

    def masked(self, columns):
        if self.mask is None:
            return columns
        n, c, k, p = self.columns
        op = self.op
        split = op.Reshape(columns, op.ints([n, self.moved, c // self.moved, k, p]))
        return op.Reshape(
            op.Mul(split, op.Reshape(self.mask, op.ints([n, self.moved, 1, k, p]))), op.ints([n, c, k, p])
        )

    def of_columns(self, g):
        """g of the output -> of the masked columns."""
        op, (n, c, k, p) = self.op, self.columns
        m = shape_of(self.w)[0] // self.groups
        rows = op.Reshape(self.w, op.ints([self.groups, m, c // self.groups * k]))
        g = op.Reshape(g, op.ints([n, self.groups, m, p]))
        return op.Reshape(op.MatMul(op.Transpose(rows, perm=[0, 2, 1]), g), op.ints([n, c, k, p]))

    def read(self, g):
        """g of the output -> of what is read: (n * moved, c / moved, k p)."""
        n, c, k, p = self.columns
        return self.op.Reshape(
            self.masked(self.of_columns(g)), self.op.ints([n * self.moved, c // self.moved, k * p])
        )


def _windows(kernel, out, attributes):
    """Where every entry of every window lies without offsets, (axes, kernel, outputs)."""
    strides, dilations = attributes.get("strides") or (1, 1), attributes.get("dilations") or (1, 1)
    pads = attributes.get("pads") or (0, 0, 0, 0)
    inside = np.indices(kernel).reshape(2, -1, 1) * np.reshape(dilations, (2, 1, 1))
    return (
        inside + np.indices(out).reshape(2, 1, -1) * np.reshape(strides, (2, 1, 1)) - np.reshape(pads[:2], (2, 1, 1))
    )


@vjp("DeformConv", wrt=0)
def deformed_x(op, g, y, x, w, offset, b=None, mask=None, **attributes):
    d = _Deformed(op, y, x, w, offset, mask, attributes)
    return op.Reshape(_images_cotangent(op, d.read(g), d.taps, prod(shape_of(x)[2:])), op.ints(shape_of(x)))


@vjp("DeformConv", wrt=1)
def deformed_w(op, g, y, x, w, offset, b=None, mask=None, **attributes):
    d = _Deformed(op, y, x, w, offset, mask, attributes)
    n, c, k, p = d.columns
    columns = op.Reshape(d.masked(d.values()), op.ints([n, d.groups, c // d.groups * k, p]))
    g = op.Reshape(g, op.ints([n, d.groups, shape_of(w)[0] // d.groups, p]))
    gw = op.ReduceSum(op.MatMul(g, op.Transpose(columns, perm=[0, 1, 3, 2])), op.ints([0]), keepdims=0)
    return op.Reshape(gw, op.ints(shape_of(w)))


@vjp("DeformConv", wrt=2)
def deformed_offset(op, g, y, x, w, offset, b=None, mask=None, **attributes):
    d = _Deformed(op, y, x, w, offset, mask, attributes)
    n, _, k, p = d.columns
    read = d.read(g)
    found = [_positions_cotangent(op, read, d.images, d.taps, axis) for axis in (0, 1)]
    parts = [op.Reshape(c, op.ints([n * d.moved, k, 1, p])) for c in found]
    return op.Reshape(op.Concat(*parts, axis=2), op.ints(shape_of(offset)))


@vjp("DeformConv", wrt=3)
def deformed_bias(op, g, y, x, w, offset, b, mask=None, **attributes):
    return op.ReduceSum(g, op.ints([0, 2, 3]), keepdims=0)


@vjp("DeformConv", wrt=4)
def deformed_mask(op, g, y, x, w, offset, b, mask, **attributes):
    d = _Deformed(op, y, x, w, offset, mask, attributes)
    n, c, k, p = d.columns
    met = op.Reshape(op.Mul(d.of_columns(g), d.values()), op.ints([n, d.moved, c // d.moved, k, p]))
    return op.Reshape(op.ReduceSum(met, op.ints([2]), keepdims=0), op.ints(shape_of(mask)))
