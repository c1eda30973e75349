"""Pools. An average or a sum over windows is linear: its matrix along each axis is probed from the operator itself."""

from math import prod

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.elementwise import STEEP
from auditor.autodiff.rules.linear import along_axis, probe
from auditor.graph.build import shape_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@vjp("MaxPool")
def max_pool(op, g, y, x, *, kernel_shape, storage_order=0, **attributes):
    """Entries that tie for the largest of a window share its cotangent evenly where the windows tile the input;
    otherwise the first takes it all, the one that ONNX Runtime's Indices name."""
    g, y_max = g[0], y[0]
    if _tiles(shape_of(x)[2:], shape_of(y_max)[2:], kernel_shape, attributes) and x.dtype in FLOATS:
        return _tiled_max(op, g, y_max, x, kernel_shape)
    indices = _indices(op, y, x, storage_order, kernel_shape=kernel_shape, **attributes)
    size, layers = prod(shape_of(x)), 1
    if op.device == "cuda":
        # Atomic additions land in any order: windows that may share an entry write to layers of their own instead.
        layers, layer = _layers(shape_of(y_max)[2:], kernel_shape, attributes)
        indices = op.Add(indices, op.const(layer * size)) if layers > 1 else indices
    flat = op.ScatterElements(
        op.Expand(op.const([0], like=x), op.ints([layers * size])),
        op.Reshape(indices, op.ints([-1])),
        op.Reshape(g, op.ints([-1])),
        axis=0,
        reduction="none" if op.device == "cuda" else "add",
    )
    if layers > 1:
        return op.ReduceSum(op.Reshape(flat, op.ints([layers, *shape_of(x)])), op.ints([0]), keepdims=0)
    return op.Reshape(flat, op.ints(shape_of(x)))


def _tiles(size, out, kernel, attributes):
    """Whether the windows cover the input without gap, overlap or padding."""
    exact = all(n == k * m for n, m, k in zip(size, out, kernel, strict=True))
    return exact and list(attributes.get("strides") or []) == list(kernel) and not any(attributes.get("pads") or [])


def _tiled_max(op, g, y, x, kernel):
    """Compares with the repeated maximum: a fourth of the time of MaxPool with Indices, whose branches no processor
    predicts. Every operator on x's scale stays in ONNX Runtime's blocked layout (hence a Conv in the place of Neg)."""
    channels = shape_of(x)[1]
    negated = op.Conv(y, op.const(np.full((channels, 1, *[1] * len(kernel)), -1), like=x), group=channels)
    largest = op.HardSigmoid(op.Add(x, _repeated(op, negated, kernel)), alpha=STEEP, beta=1.0)
    share = op.AveragePool(largest, kernel_shape=kernel, strides=kernel)
    g = op.Div(g, op.Mul(share, op.const(prod(kernel), like=x)))
    return op.Mul(largest, _repeated(op, g, kernel))


def _repeated(op, x, times):
    """Every entry repeated along the spatial axes."""
    scales = op.const(np.asarray([1, 1, *times], np.float32))
    mode = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return op.Resize(x, None, scales, **mode)


def _indices(op, y, x, storage_order, **attributes):
    """Where each largest entry lies in the flattened x; asked of the primal itself unless it counts by columns, or takes
    levels, whose values come here as numbers."""
    node = y[0].producer()
    if storage_order or node.op_type != "MaxPool":
        return op.MaxPool(x, _outputs=2, **attributes)[1]
    if len(node.outputs) == 1:
        node.resize_outputs(2)
        indices = node.outputs[1]
        indices.name, indices.dtype, indices.shape = f"{y[0].name}_indices", ir.DataType.INT64, y[0].shape
    return node.outputs[1]


def _layers(out, kernel, attributes):
    """How many layers keep overlapping windows apart, and the layer of each window, shape (1, 1, *out)."""
    rank = len(kernel)
    strides, dilations = attributes.get("strides") or [1] * rank, attributes.get("dilations") or [1] * rank
    counts = [-(-(d * (k - 1) + 1) // s) for k, s, d in zip(kernel, strides, dilations, strict=True)]
    phases = np.indices(out) % np.reshape(counts, (rank, *[1] * rank))
    return prod(counts), np.ravel_multi_index(tuple(phases), tuple(counts)).astype(np.int64)[None, None]


@vjp("AveragePool")
def average_pool(op, g, y, x, *, kernel_shape, **attributes):
    if _is_smoothing(attributes):
        return _smoothing(op, g, kernel_shape, **attributes)
    attributes["kernel_shape"] = kernel_shape
    matrices = [
        probe(op, "AveragePool", np.eye(n)[:, None, :], **_along(attributes, i, len(kernel_shape)))[:, 0, :]
        for i, n in enumerate(shape_of(x)[2:])
    ]
    if all(_repeats(m, k) for m, k in zip(matrices, kernel_shape, strict=True)):
        return _repeated(op, op.Mul(g, op.const(1 / prod(kernel_shape), like=g)), kernel_shape)
    for axis, matrix in enumerate(matrices, start=2):
        g = along_axis(op, g, axis, matrix)
    return g


def _is_smoothing(attributes):
    """Whether every window has the same weights and the next begins one entry on: then so it is for the adjoint.

    ONNX Runtime refuses the adjoint's padding where windows are dilated.
    """
    counted = attributes.get("count_include_pad") or not any(attributes.get("pads") or [])
    steps = [*(attributes.get("strides") or []), *(attributes.get("dilations") or [])]
    return counted and all(s == 1 for s in steps) and attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _smoothing(op, g, kernel, pads=None, **attributes):
    both = [*kernel, *kernel]
    pads = [k - 1 - p for k, p in zip(both, pads or [0] * len(both), strict=True)]
    return op.AveragePool(g, kernel_shape=kernel, pads=pads, count_include_pad=1)


def _along(attributes, axis, rank):
    """A pool's attributes along one of its axes."""
    own = dict(attributes)
    for name in ("kernel_shape", "strides", "dilations"):
        if own.get(name):
            own[name] = [own[name][axis]]
    if own.get("pads"):
        own["pads"] = [own["pads"][axis], own["pads"][rank + axis]]
    return own


def _repeats(matrix, k):
    """Whether windows of k tile the axis, so that the adjoint repeats every entry k times."""
    n, m = matrix.shape
    return n == m * k and np.array_equal(matrix, np.repeat(np.eye(m, dtype=matrix.dtype), k, axis=0) * matrix[0, 0])


@vjp("LpPool")
def lp_pool(op, g, y, x, *, kernel_shape, p=2, **attributes):
    g = op.Mul(g, _root_slope(op, y, p))
    attributes |= {"kernel_shape": kernel_shape, "p": 1}
    for i, n in enumerate(shape_of(x)[2:]):
        sums = probe(op, "LpPool", np.eye(n)[:, None, :], **_along(attributes, i, len(kernel_shape)))[:, 0, :]
        g = along_axis(op, g, i + 2, sums)
    return op.Mul(g, _power_slope(op, x, p))


def _root_slope(op, y, p):
    """y ** (1 - p), and 0 where y is 0: there x is 0 too and its subgradient is chosen to be 0."""
    zero = op.const(0, like=y)
    return op.Where(op.Greater(y, zero), op.Pow(y, op.const(1 - p, like=y)), zero)


def _power_slope(op, x, p):
    """sign(x) |x| ** (p - 1)."""
    if p == 2:
        return x
    return op.Sign(x) if p == 1 else op.Mul(op.Sign(x), op.Pow(op.Abs(x), op.const(p - 1, like=x)))


@vjp("GlobalAveragePool")
def global_average_pool(op, g, y, x):
    share = op.Mul(g, op.const(1 / prod(shape_of(x)[2:]), like=g))
    return op.Expand(share, op.ints(shape_of(x)))


@vjp("GlobalMaxPool")
def global_max_pool(op, g, y, x):
    """The cotangent is shared evenly by all largest entries."""
    ties = op.CastLike(op.Equal(x, y), x)
    spatial = op.ints(range(2, len(shape_of(x))))
    return op.Mul(op.Div(g, op.ReduceSum(ties, spatial, keepdims=1)), ties)


@vjp("GlobalLpPool")
def global_lp_pool(op, g, y, x, *, p=2):
    return op.Mul(op.Mul(g, _root_slope(op, y, p)), _power_slope(op, x, p))


@vjp("MaxUnpool")
def max_unpool(op, g, y, x, indices, output_shape=None, *, kernel_shape, pads=None, strides=None):
    """Each entry was written to the place that its index names in the whole output."""
    flat = op.Gather(op.Reshape(g, op.ints([-1])), op.Reshape(indices, op.ints([-1])), axis=0)
    return op.Reshape(flat, op.ints(shape_of(x)))
