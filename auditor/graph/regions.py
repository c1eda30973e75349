"""Pools over regions of interest, taken apart into standard operators: gradients reach the image and, where positions
are not rounded, the regions.

What ONNX Runtime computes counts: RoiAlign's maximum is over its taps, weighted entries of the image, not over
interpolated values, and samples more than one entry outside the image are zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.rewriting import rewrites


@dataclass(frozen=True)
class _Samples:
    """Where the bins of each region are sampled along one axis of an image.

    at: (regions, bins, most) positions, in entries. inside: bool of that shape, whether anything is read there. counted: bool,
    false beyond the last sample of a bin. grid: (regions, 1, 1) how many samples a bin has; of more than `most` those left
    out lie outside the image. size: how many entries the axis has.
    """

    at: ir.Value
    inside: ir.Value
    counted: ir.Value
    grid: ir.Value
    most: int
    size: int


@rewrites("RoiAlign", domain="")
def _roi_align(
    op: Builder,
    x: ir.Value,
    rois: ir.Value,
    batch_indices: ir.Value,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> ir.Value | None:
    """He et al. 2017 (Mask R-CNN), section 3: bilinear samples of each bin, averaged, or the largest of their taps."""
    shifted = coordinate_transformation_mode == "half_pixel"
    scaled = op.Mul(rois, op.const(spatial_scale, like=rois))
    if shifted:
        scaled = op.Sub(scaled, op.const(0.5, like=rois))
    ends = [op.Unsqueeze(end, op.ints([2])) for end in op.Split(scaled, num_outputs=4, axis=1, _outputs=4)]
    samples = []
    for first, bins, size in ((1, output_height, shape_of(x)[2]), (0, output_width, shape_of(x)[3])):
        extent = op.Sub(ends[first + 2], ends[first])
        if not shifted:
            extent = op.Max(extent, op.const(1.0, like=extent))
        most = sampling_ratio or _most_samples(constant_of(rois), first, spatial_scale / bins, size)
        samples.append(_sampled(op, ends[first], extent, bins, size, sampling_ratio, most))
    images = op.Gather(x, batch_indices, axis=0)
    if mode == "max":
        return _largest_tap(op, images, *samples)
    down, across = (_averaging(op, s) for s in samples)
    return op.MatMul(op.MatMul(down, images), op.Transpose(across, perm=[0, 1, 3, 2]))


def _most_samples(rois: np.ndarray | None, first: int, scale: float, size: int) -> int:
    """How many samples of a bin can lie in the image where there are as many as the bin is wide, rounded up: two are
    more than half an entry apart. Known regions tell it more exactly. scale: from their units to bins."""
    bound = 2 * (size + 2)
    if rois is None:
        return bound
    widest = float(np.max(rois[:, first + 2] - rois[:, first], initial=0)) * scale
    return min(bound, floor(max(widest, 1.0)) + 2)


def _sampled(op: Builder, start: ir.Value, extent: ir.Value, bins: int, size: int, ratio: int, most: int) -> _Samples:
    """start, extent: (regions, 1, 1). Where the samples are too many, they begin at the first that lies in the image."""
    one, none = op.const(1.0, like=start), op.const(0.0, like=start)
    width = op.Div(extent, op.const(bins, like=start))
    grid = op.Expand(op.const(ratio, like=start), op.ints(shape_of(start))) if ratio else op.Ceil(width)
    step = op.Div(width, op.Max(grid, one))
    begin = op.Add(start, op.Mul(op.const(np.arange(bins).reshape(1, bins, 1), like=start), width))
    number = op.const(np.arange(most).reshape(1, 1, most), like=start)
    if not ratio:
        outside = op.Div(op.Sub(op.const(-1.0, like=start), begin), op.Where(op.Greater(step, none), step, one))
        spare = op.Max(op.Sub(grid, op.const(most, like=start)), none)
        skipped = op.Min(op.Max(op.Floor(op.Sub(outside, op.const(0.5, like=start))), none), spare)
        number = op.Add(number, skipped)
    at = op.Add(begin, op.Mul(op.Add(number, op.const(0.5, like=start)), step))
    inside = op.And(op.GreaterOrEqual(at, op.const(-1.0, like=at)), op.LessOrEqual(at, op.const(size, like=at)))
    counted = op.Expand(op.Less(number, grid), op.ints(shape_of(at)))
    return _Samples(at, inside, counted, grid, most, size)


def _clamped(op: Builder, s: _Samples) -> ir.Value:
    return op.Clip(s.at, op.const(0.0, like=s.at), op.const(s.size - 1.0, like=s.at))


def _averaging(op: Builder, s: _Samples) -> ir.Value:
    """What each entry of the axis weighs in each bin: (regions, 1, bins, size). An average over samples of both axes is one
    along the first, then one along the second."""
    one = op.const(1.0, like=s.at)
    entries = op.const(np.arange(s.size), like=s.at)
    far = op.Abs(op.Sub(op.Unsqueeze(_clamped(op, s), op.ints([3])), entries))
    read = op.Unsqueeze(op.Cast(op.And(s.inside, s.counted), to=s.at.dtype), op.ints([3]))
    weights = op.ReduceSum(op.Mul(op.Relu(op.Sub(one, far)), read), op.ints([2]), keepdims=0)
    return op.Unsqueeze(op.Div(weights, op.Max(s.grid, one)), op.ints([1]))


def _largest_tap(op: Builder, images: ir.Value, down: _Samples, across: _Samples) -> ir.Value:
    """images: (regions, channels, height, width), one per region -> (regions, channels, bins down, bins across)."""
    regions, channels, *_ = shape_of(images)
    values, counted, complete = images, [], []
    for axis, s in ((2, down), (3, across)):
        values, known = _tapped(op, values, s, axis)
        some = op.And(
            op.Greater(s.grid, op.const(0.0, like=s.grid)), op.LessOrEqual(s.grid, op.const(s.most, like=s.grid))
        )
        counted.append(known)
        complete.append(op.Unsqueeze(some, op.ints([3])))
    lowest = op.const(np.finfo(images.dtype.numpy()).min, like=images)
    bins = [regions, channels, shape_of(down.at)[1], 2 * down.most, shape_of(across.at)[1], 2 * across.most]
    taps = op.Reshape(op.Where(op.And(*counted), values, lowest), op.ints(bins))
    largest = op.ReduceMax(taps, op.ints([3, 5]), keepdims=0)
    with_zero = op.Max(largest, op.const(0.0, like=largest))  # of samples left out, or of none at all
    return op.Where(op.And(*complete), largest, with_zero)


def _tapped(op: Builder, images: ir.Value, s: _Samples, axis: int) -> tuple[ir.Value, ir.Value]:
    """The two weighted entries of each sample along one axis of (regions, channels, height, width), and whether they count."""
    at = _clamped(op, s)
    low = op.Floor(at)
    high = op.Min(op.Add(low, op.const(1.0, like=at)), op.const(s.size - 1.0, like=at))
    rest = op.Sub(at, low)
    read = op.Cast(s.inside, to=at.dtype)
    weight = op.Concat(op.Mul(op.Sub(op.const(1.0, like=at), rest), read), op.Mul(rest, read), axis=2)
    size = list(shape_of(images))
    size[axis] = shape_of(at)[1] * 2 * s.most
    along = [1 if i in (1, 5 - axis) else size[i] for i in range(4)]
    index, weight, counted = (
        op.Reshape(v, op.ints(along))
        for v in (op.Concat(low, high, axis=2), weight, op.Concat(s.counted, s.counted, axis=2))
    )
    entries = op.Expand(op.Cast(index, to=ir.DataType.INT64), op.ints(size))
    return op.Mul(op.GatherElements(images, entries, axis=axis), weight), counted


@rewrites("MaxRoiPool", domain="")
def _max_roi_pool(
    op: Builder, x: ir.Value, rois: ir.Value, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> ir.Value | None:
    """Girshick 2015 (Fast R-CNN), section 2.1: the largest entry of each bin, whose ends are rounded outwards; 0 where it
    is empty. Along one axis, then along the other."""
    number, *ends = op.Split(rois, num_outputs=5, axis=1, _outputs=5)
    images = op.Gather(x, op.Cast(op.Squeeze(number, op.ints([1])), to=ir.DataType.INT64), axis=0)
    height, width = shape_of(x)[2:]
    rows = _in_bins(op, ends[1], ends[3], spatial_scale, pooled_shape[0], height)
    columns = _in_bins(op, ends[0], ends[2], spatial_scale, pooled_shape[1], width)
    lowest = op.const(np.finfo(x.dtype.numpy()).min, like=x)
    rows = op.Unsqueeze(rows, op.ints([1, 4]))  # (regions, 1, bins, height, 1)
    largest = op.ReduceMax(op.Where(rows, op.Unsqueeze(images, op.ints([2])), lowest), op.ints([3]), keepdims=0)
    columns = op.Unsqueeze(columns, op.ints([1, 2]))  # (regions, 1, 1, bins, width)
    largest = op.ReduceMax(op.Where(columns, op.Unsqueeze(largest, op.ints([3])), lowest), op.ints([4]), keepdims=0)
    return op.Where(op.Greater(largest, lowest), largest, op.const(0.0, like=x))


def _in_bins(op: Builder, start: ir.Value, end: ir.Value, scale: float, bins: int, size: int) -> ir.Value:
    """start, end: (regions, 1) in the regions' units -> bool (regions, bins, size), which entries a bin holds."""
    first, last = (_rounded(op, op.Mul(v, op.const(scale, like=v))) for v in (start, end))
    one = op.const(1.0, like=first)
    width = op.Div(op.Max(op.Add(op.Sub(last, first), one), one), op.const(bins, like=first))
    number = op.const(np.arange(bins).reshape(1, bins), like=first)
    low = op.Add(first, op.Floor(op.Mul(number, width)))
    high = op.Add(first, op.Ceil(op.Mul(op.Add(number, one), width)))
    entries = op.const(np.arange(size), like=first)
    low, high = (op.Unsqueeze(v, op.ints([2])) for v in (low, high))
    return op.And(op.GreaterOrEqual(entries, low), op.Less(entries, high))


def _rounded(op: Builder, value: ir.Value) -> ir.Value:
    """To the nearest whole number, halves away from zero."""
    return op.Mul(op.Sign(value), op.Floor(op.Add(op.Abs(value), op.const(0.5, like=value))))
