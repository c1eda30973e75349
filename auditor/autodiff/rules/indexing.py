"""Reading and writing at indices: the adjoint of a gather is a scatter with addition, and the other way round.

Where the indices are constant, the scatter becomes a gather again: faster, and without the float atomics that
make a GPU's sums differ from run to run.
"""

import numpy as np

from auditor.autodiff.rules import stops, vjp
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of

# A table of `repeats` columns reads repeats * length entries; beyond this multiple of the entries there are,
# scattering is cheaper.
TABLE_WASTE = 4


def _zeros(op, shape, like):
    return op.Expand(op.const(0.0, like=like), op.ints(shape))


@vjp("Gather")
def gather(op, g, y, x, indices, *, axis=0):
    shape = shape_of(x)
    axis %= len(shape)
    before, length, after = shape[:axis], shape[axis], shape[axis + 1 :]
    count = int(np.prod(shape_of(indices), dtype=np.int64))
    g = op.Reshape(g, op.ints((*before, count, *after)))
    constant = constant_of(indices)
    if constant is not None:
        readers = _readers(constant.ravel() % length, length)
        if readers.size <= TABLE_WASTE * max(count, length):
            return _gather_back(op, g, readers, axis, count)
    return _scatter_back(op, g, op.Reshape(indices, op.ints((count, 1))), shape, axis)


def _readers(indices, length):
    """For each of `length` slots, the positions in `indices` that read it, filled up with len(indices)."""
    counts = np.bincount(indices, minlength=length)
    table = np.full((length, max(1, counts.max(initial=0))), len(indices), dtype=np.int64)
    order = np.argsort(indices, kind="stable")
    column = np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[indices[order], column] = order
    return table


def _gather_back(op, g, readers, axis, count):
    """Each slot sums what its readers got; a slot that nothing read takes the zero behind the end."""
    if (readers == count).any():
        pads = [0] * (2 * len(shape_of(g)))
        pads[len(pads) // 2 + axis] = 1
        g = op.Pad(g, op.ints(pads))
    if readers.shape[1] == 1:
        return op.Gather(g, op.ints(readers[:, 0]), axis=axis)
    return op.ReduceSum(op.Gather(g, op.const(readers), axis=axis), op.ints([axis + 1]), keepdims=0)


def _scatter_back(op, g, indices, shape, axis):
    """ScatterND writes along the first axis: the gathered one goes there and back."""
    there = [axis, *(i for i in range(len(shape)) if i != axis)]
    zeros = _zeros(op, [shape[i] for i in there], g)
    moved = op.Transpose(g, perm=there) if axis else g
    summed = op.ScatterND(zeros, indices, moved, reduction="add")
    return op.Transpose(summed, perm=[int(i) for i in np.argsort(there)]) if axis else summed


@vjp("GatherElements")
def gather_elements(op, g, y, x, indices, *, axis=0):
    return op.ScatterElements(_zeros(op, shape_of(x), g), indices, g, axis=axis, reduction="add")


@vjp("GatherND")
def gather_nd(op, g, y, x, indices, *, batch_dims=0):
    if batch_dims:
        grid = np.indices(shape_of(indices)[:-1])[:batch_dims]
        indices = op.Concat(op.const(np.moveaxis(grid, 0, -1)), indices, axis=-1)
    return op.ScatterND(_zeros(op, shape_of(x), g), indices, g, reduction="add")


@vjp("ScatterElements", wrt=0)
def scatter_elements(op, g, y, x, indices, updates, *, axis=0, reduction="none"):
    if _adds(y, reduction):
        return g
    return op.ScatterElements(g, indices, _zeros(op, shape_of(updates), g), axis=axis)


@vjp("ScatterElements", wrt=2)
def scatter_elements_updates(op, g, y, x, indices, updates, *, axis=0, reduction="none"):
    _adds(y, reduction)
    return op.GatherElements(g, indices, axis=axis)


@vjp("ScatterND", wrt=0)
def scatter_nd(op, g, y, x, indices, updates, *, reduction="none"):
    if _adds(y, reduction):
        return g
    return op.ScatterND(g, indices, _zeros(op, shape_of(updates), g))


@vjp("ScatterND", wrt=2)
def scatter_nd_updates(op, g, y, x, indices, updates, *, reduction="none"):
    _adds(y, reduction)
    return op.GatherND(g, indices)


def _adds(y, reduction):
    """Whether a scatter adds (True) or overwrites (False)."""
    if reduction not in ("none", "add"):
        why = f"reduction '{reduction}' has no gradient here; 'none' and 'add' have"
        raise NoGradient(y.producer().op_type, y.producer().name or "", why)
    return reduction == "add"


@vjp("TopK")
def top_k(op, g, y, x, k, *, axis=-1, largest=1, sorted=1):
    return op.ScatterElements(_zeros(op, shape_of(x), g[0]), y[1], g[0], axis=axis)


@vjp("Trilu")
def trilu(op, g, y, x, k=None, *, upper=1):
    return op.Trilu(g, k, upper=upper)


@vjp("ReverseSequence")
def reverse_sequence(op, g, y, x, lengths, *, batch_axis=1, time_axis=0):
    return op.ReverseSequence(g, lengths, batch_axis=batch_axis, time_axis=time_axis)


stops("gives indices, not scores: its slope is zero wherever it exists", "ArgMax", "ArgMin", "NonZero", "OneHot")
stops("reads the shape, not the values", "Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike")
stops("reads no input that could be attacked", "Constant", "ConstantOfShape", "RandomNormal", "RandomUniform")
stops("draws at random: a draw has no slope", "Bernoulli", "Multinomial")
stops("gives a fixed grid: its ends are not scores of anything", "Range")
