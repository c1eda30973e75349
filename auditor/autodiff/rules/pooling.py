"""Pools. An average or a sum over windows is linear: its matrix along each axis is probed from the operator itself."""

from math import prod

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.linear import along_axis, probe
from auditor.graph.build import shape_of


@vjp("MaxPool")
def max_pool(op, g, y, x, *, kernel_shape, storage_order=0, **attributes):
    """The cotangent of a window goes to its first largest entry, the one that ONNX Runtime's Indices name."""
    indices = _indices(op, y, x, storage_order, kernel_shape=kernel_shape, **attributes)
    size, layers = prod(shape_of(x)), 1
    if op.device == "cuda":
        # Atomic additions land in any order: windows that may share an entry write to layers of their own instead.
        layers, layer = _layers(shape_of(y[0])[2:], kernel_shape, attributes)
        indices = op.Add(indices, op.const(layer * size)) if layers > 1 else indices
    flat = op.ScatterElements(
        op.Expand(op.const([0], like=x), op.ints([layers * size])),
        op.Reshape(indices, op.ints([-1])),
        op.Reshape(g[0], op.ints([-1])),
        axis=0,
        reduction="none" if op.device == "cuda" else "add",
    )
    if layers > 1:
        return op.ReduceSum(op.Reshape(flat, op.ints([layers, *shape_of(x)])), op.ints([0]), keepdims=0)
    return op.Reshape(flat, op.ints(shape_of(x)))


def _indices(op, y, x, storage_order, **attributes):
    """Where each largest entry lies in the flattened x; asked of the primal itself unless it counts by columns."""
    if storage_order:
        return op.MaxPool(x, _outputs=2, **attributes)[1]
    node = y[0].producer()
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
def average_pool(op, g, y, x, *, kernel_shape, count_include_pad=0, **attributes):
    attributes |= {"kernel_shape": kernel_shape, "count_include_pad": count_include_pad}
    matrices = [
        probe(op, "AveragePool", np.eye(n)[:, None, :], **_along(attributes, i, len(kernel_shape)))[:, 0, :]
        for i, n in enumerate(shape_of(x)[2:])
    ]
    if all(_repeats(m, k) for m, k in zip(matrices, kernel_shape, strict=True)):
        shared = op.Mul(g, op.const(1 / prod(kernel_shape), like=g))
        scales = np.asarray([1, 1, *kernel_shape], np.float32)
        return op.Resize(
            shared,
            None,
            op.const(scales),
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
    for axis, matrix in enumerate(matrices, start=2):
        g = along_axis(op, g, axis, matrix)
    return g


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
