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
    return _Scatter(op, "Elements", indices, reduction, axis=axis).data(g, y, x, updates)


@vjp("ScatterElements", wrt=2)
def scatter_elements_updates(op, g, y, x, indices, updates, *, axis=0, reduction="none"):
    return _Scatter(op, "Elements", indices, reduction, axis=axis).updates(g, y, x, updates)


@vjp("ScatterND", wrt=0)
def scatter_nd(op, g, y, x, indices, updates, *, reduction="none"):
    return _Scatter(op, "ND", indices, reduction).data(g, y, x, updates)


@vjp("ScatterND", wrt=2)
def scatter_nd_updates(op, g, y, x, indices, updates, *, reduction="none"):
    return _Scatter(op, "ND", indices, reduction).updates(g, y, x, updates)


class _Scatter:
    """One scatter: how it writes, and how its results are read back at the same indices."""

    def __init__(self, op, kind, indices, reduction, **axis):
        self.op, self.kind, self.indices, self.reduction, self.axis = op, kind, indices, reduction, axis

    def write(self, x, updates, reduction="none"):
        return getattr(self.op, f"Scatter{self.kind}")(x, self.indices, updates, reduction=reduction, **self.axis)

    def read(self, x):
        return getattr(self.op, f"Gather{self.kind}")(x, self.indices, **self.axis)

    def data(self, g, y, x, updates):
        if self.reduction == "add":
            return g
        if self.reduction == "none":
            return self.write(g, _zeros(self.op, shape_of(updates), g))
        if self.reduction == "mul":
            return self.op.Mul(g, self._others(x, x, updates, lambda v: v))
        return self.op.Mul(self.op.Cast(self.op.Equal(x, y), to=g.dtype), self._share(g, y, x, updates))

    def updates(self, g, y, x, updates):
        if self.reduction in ("none", "add"):
            return self.read(g)
        if self.reduction == "mul":
            return self.op.Mul(self.read(g), self._others(updates, x, updates, self.read))
        won = self.op.Cast(self.op.Equal(updates, self.read(y)), to=g.dtype)
        return self.op.Mul(won, self.read(self._share(g, y, x, updates)))

    def _share(self, g, y, x, updates):
        """All that tie for the largest, or smallest, of an entry share its cotangent evenly."""
        op = self.op
        hits = [op.Cast(op.Equal(a, b), to=g.dtype) for a, b in ((x, y), (updates, self.read(y)))]
        return op.Div(g, self.write(hits[0], hits[1], "add"))

    def _others(self, factor, x, updates, at):
        """The product of an entry's other factors: a lone zero has one, beside a zero the others have none."""
        op = self.op
        zeros = [op.Equal(v, 0.0) for v in (x, updates)]
        flags = [op.Cast(z, to=x.dtype) for z in zeros]
        counts = self.write(flags[0], flags[1], "add")
        product = self.write(op.Where(zeros[0], 1.0, x), op.Where(zeros[1], 1.0, updates), "mul")
        zero = op.Equal(factor, 0.0)
        alone = op.Equal(at(counts), op.Cast(zero, to=x.dtype))
        return op.Where(alone, op.Div(at(product), op.Where(zero, 1.0, factor)), 0.0)


@vjp("TopK")
def top_k(op, g, y, x, k, *, axis=-1, largest=1, sorted=1):
    return op.ScatterElements(_zeros(op, shape_of(x), g[0]), y[1], g[0], axis=axis)


@vjp("Trilu")
def trilu(op, g, y, x, k=None, *, upper=1):
    return op.Trilu(g, k, upper=upper)


@vjp("ReverseSequence")
def reverse_sequence(op, g, y, x, lengths, *, batch_axis=1, time_axis=0):
    return op.ReverseSequence(g, lengths, batch_axis=batch_axis, time_axis=time_axis)


@vjp("Compress")
def compress(op, g, y, x, condition, *, axis=None):
    """Of a constant condition, which is all that a shape can be known of."""
    chosen = constant_of(condition)
    if chosen is None:
        raise NoGradient("Compress", y.producer().name or "", "what it keeps depends on the model's input")
    shape = shape_of(x)
    flat = (int(np.prod(shape)),) if axis is None else shape
    along = 0 if axis is None else axis % len(shape)
    kept = np.flatnonzero(chosen)
    padded = op.Pad(g, op.ints([0] * (len(flat) + along) + [1] + [0] * (len(flat) - along - 1)))
    source = np.full(flat[along], len(kept))
    source[kept] = np.arange(len(kept))
    return op.Reshape(op.Gather(padded, op.const(source), axis=along), op.ints(shape))


@vjp("Col2Im")
def col_to_im(op, g, y, x, image_shape, block_shape, *, dilations=None, pads=None, strides=None):
    """Every entry of a block was added to one of the image: it reads that one's cotangent, or a zero in the padding."""
    sizes = [v.tolist() for v in map(constant_of, (image_shape, block_shape)) if v is not None]
    if len(sizes) < 2:
        raise NoGradient("Col2Im", y.producer().name or "", "its sizes are not constant: fold them")
    image, block = map(tuple, sizes)
    rank = len(image)
    dilations, strides = (np.reshape(v or [1] * rank, (rank, 1, 1)) for v in (dilations, strides))
    begins, ends = np.reshape(pads or [0] * 2 * rank, (2, rank, 1, 1))
    extent = (dilations * (np.reshape(block, (rank, 1, 1)) - 1) + 1).ravel()
    counts = (np.asarray(image) + begins.ravel() + ends.ravel() - extent) // strides.ravel() + 1
    places = np.indices(block).reshape(rank, -1, 1) * dilations + np.indices(counts).reshape(rank, 1, -1) * strides
    places = places - begins
    inside = np.all((places >= 0) & (places < np.reshape(image, (rank, 1, 1))), axis=0)
    flat = np.where(inside, np.ravel_multi_index(tuple(places), image, mode="clip"), np.prod(image))
    n, c = shape_of(y)[:2]
    padded = op.Pad(op.Reshape(g, op.ints([n, c, int(np.prod(image))])), op.ints([0, 0, 0, 0, 0, 1]))
    return op.Reshape(op.Gather(padded, op.const(flat), axis=2), op.ints(shape_of(x)))


@vjp("TensorScatter", wrt=0)
def tensor_scatter(op, g, y, past, update, at=None, *, axis=-2, mode="linear"):
    zeros = _zeros(op, shape_of(update), g)
    return op.TensorScatter(g, zeros, at, axis=axis, mode=mode)


@vjp("TensorScatter", wrt=1)
def tensor_scatter_update(op, g, y, past, update, at=None, *, axis=-2, mode="linear"):
    """The rows of every example that were written, around the end where the cache is circular."""
    shape, length = shape_of(past), shape_of(update)[axis]
    along = axis % len(shape)
    rows = op.const(np.arange(length, dtype=np.int64).reshape(1, -1))
    if at is not None:
        rows = op.Add(rows, op.Reshape(at, op.ints([-1, 1])))
    rows = op.Mod(rows, op.const(np.int64(shape[along]))) if mode == "circular" else rows
    spread = [shape[0] if i == 0 and at is not None else length if i == along else 1 for i in range(len(shape))]
    rows = op.Expand(op.Reshape(rows, op.ints(spread)), op.ints(shape_of(update)))
    return op.GatherElements(g, rows, axis=along)


stops("gives indices, not scores: its slope is zero wherever it exists", "ArgMax", "ArgMin", "NonZero", "OneHot")
stops("reads the shape, not the values", "Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike")
stops("reads no input that could be attacked", "Constant", "ConstantOfShape", "RandomNormal", "RandomUniform")
stops("reads sizes alone", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")
stops("takes text", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit")
stops("counts whole tokens", "TfIdfVectorizer")
stops("decodes a file: the image behind it is what can be attacked", "ImageDecoder")
stops("draws at random: a draw has no slope", "Bernoulli", "Multinomial")
stops("gives a fixed grid: its ends are not scores of anything", "Range")
stops("gives indices of boxes, not scores", "NonMaxSuppression")
stops("keeps as many values as differ: its shape depends on them", "Unique")
