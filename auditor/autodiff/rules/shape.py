"""Reshaping, cutting and joining: linear maps that only move elements."""

import numpy as np

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.linear import along_axis, probe
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of

INT64_MIN = np.iinfo(np.int64).min


def _spread(op, x, steps):
    """Put step - 1 zeros after every element along each axis of `steps` (axis -> step)."""
    steps = {axis: step for axis, step in steps.items() if step > 1}
    if not steps:
        return x
    wide, pads, shape = [], [], list(shape_of(x))
    for axis, size in enumerate(shape_of(x)):
        wide += [size, 1] if axis in steps else [size]
        pads += [0, steps[axis] - 1] if axis in steps else [0]
        shape[axis] = size * steps.get(axis, 1)
    x = op.Pad(op.Reshape(x, op.ints(wide)), op.ints([0] * len(wide) + pads))
    return op.Reshape(x, op.ints(shape))


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op, g, y, x, *shape, **attributes):
    shape_x = shape_of(x)
    return op.Reshape(g, op.ints(shape_x), allowzero=int(0 in shape_x))


@vjp("Transpose")
def transpose(op, g, y, x, *, perm=None):
    return op.Transpose(g, perm=None if perm is None else [int(i) for i in np.argsort(perm)])


@vjp("Expand")
def expand(op, g, y, x, shape):
    return g


@vjp("Tile")
def tile(op, g, y, x, repeats):
    sizes = shape_of(x)
    times = [have // size if size else 1 for have, size in zip(shape_of(g), sizes, strict=True)]
    copies = op.Reshape(g, op.ints([d for pair in zip(times, sizes, strict=True) for d in pair]))
    return op.ReduceSum(copies, op.ints([2 * i for i in range(len(sizes))]), keepdims=0)


@vjp("Concat", wrt=None)
def concat(op, g, y, *inputs, index, axis):
    sizes = [shape_of(x)[axis] for x in inputs]
    start = sum(sizes[:index])
    return op.Slice(g, op.ints([start]), op.ints([start + sizes[index]]), op.ints([axis]))


@vjp("Split")
def split(op, g, y, x, split=None, *, axis=0, num_outputs=None):
    parts = [part if part is not None else _zeros(op, out) for part, out in zip(g, y, strict=True)]
    return op.Concat(*parts, axis=axis)


def _zeros(op, like):
    return op.Expand(op.const(0, like=like), op.ints(shape_of(like)))


@vjp("Slice")
def slice_(op, g, y, x, starts, ends, axes=None, steps=None):
    shape = shape_of(x)
    cuts = _cuts(y, shape, *(constant_of(v) for v in (starts, ends, axes, steps)))
    backwards = [axis for axis, cut in cuts.items() if cut.step < 0]
    if backwards:
        ones = [-1] * len(backwards)
        g = op.Slice(g, op.ints(ones), op.ints([INT64_MIN] * len(ones)), op.ints(backwards), op.ints(ones))
        cuts |= {axis: cuts[axis][::-1] for axis in backwards}
    g = _spread(op, g, {axis: cut.step for axis, cut in cuts.items()})
    return _placed(op, g, {a: (cut.start, shape[a] - cut.start - len(cut) * cut.step) for a, cut in cuts.items()})


def _placed(op, x, margins):
    """x with (begin, end) zeros added along each axis of `margins`, or taken off where negative."""
    crops = {axis: pair for axis, pair in margins.items() if min(pair) < 0}
    if crops:
        begins = [max(0, -begin) for begin, _ in crops.values()]
        ends = [shape_of(x)[axis] - max(0, -end) for axis, (_, end) in crops.items()]
        x = op.Slice(x, op.ints(begins), op.ints(ends), op.ints(list(crops)))
    pads = [max(0, margins.get(axis, (0, 0))[side]) for side in (0, 1) for axis in range(len(shape_of(x)))]
    return op.Pad(x, op.ints(pads)) if any(pads) else x


def _cuts(y, shape, starts, ends, axes, steps):
    """axis -> the indices that were kept."""
    if starts is None or ends is None:
        raise NoGradient("Slice", y.producer().name or "", "its bounds depend on the model's input")
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cuts = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut = range(shape[axis])[int(start) : int(end) : int(step)]
        cuts[int(axis) % len(shape)] = cut if cut else range(0)
    return cuts


@vjp("Pad")
def pad(op, g, y, x, pads, constant_value=None, axes=None, *, mode="constant"):
    shape = shape_of(x)
    amounts = constant_of(pads)
    if amounts is None:
        raise NoGradient("Pad", y.producer().name or "", "its amounts depend on the model's input")
    chosen = np.arange(len(shape)) if axes is None else np.asarray(constant_of(axes))
    begins, ends = np.split(amounts, 2)
    widths = {int(a) % len(shape): (int(b), int(e)) for a, b, e in zip(chosen, begins, ends, strict=True) if b or e}
    if mode == "constant":
        return _placed(op, g, {axis: (-begin, -end) for axis, (begin, end) in widths.items()})
    for axis, (begin, end) in widths.items():
        matrix = probe(op, "Pad", np.eye(shape[axis]), np.asarray([0, begin, 0, end]), mode=mode)
        if begin < 0 or end < 0:
            g = along_axis(op, g, axis, matrix)
            continue
        # The padded margins are few: a narrow product brings them back onto the elements that they copy.
        size = shape[axis]
        margins = [_part(op, g, axis, 0, begin), _part(op, g, axis, begin + size, begin + size + end)]
        copied = np.delete(matrix, np.s_[begin : begin + size], axis=1)
        folded = along_axis(op, op.Concat(*margins, axis=axis), axis, copied)
        g = op.Add(_part(op, g, axis, begin, begin + size), folded)
    return g


def _part(op, x, axis, start, end):
    return op.Slice(x, op.ints([start]), op.ints([end]), op.ints([axis]))


@vjp("SpaceToDepth")
def space_to_depth(op, g, y, x, *, blocksize):
    return op.DepthToSpace(g, blocksize=blocksize)


@vjp("DepthToSpace")
def depth_to_space(op, g, y, x, *, blocksize, mode="DCR"):
    if mode == "DCR":
        return op.SpaceToDepth(g, blocksize=blocksize)
    n, c, h, w = shape_of(x)
    blocks = op.Reshape(g, op.ints([n, c // blocksize**2, h, blocksize, w, blocksize]))
    return op.Reshape(op.Transpose(blocks, perm=[0, 1, 3, 5, 2, 4]), op.ints([n, c, h, w]))
