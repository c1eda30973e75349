"""Reductions and running sums."""

import numpy as np

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.elementwise import sign
from auditor.errors import NoGradient
from auditor.graph.bodies import scan
from auditor.graph.build import constant_of, shape_of


def _reduced_axes(x, axes, noop, y):
    """The reduced axes, as non-negative numbers."""
    rank = len(shape_of(x))
    if axes is None or shape_of(axes) == (0,):
        return () if noop else tuple(range(rank))
    values = constant_of(axes)
    if values is None:
        raise NoGradient(y.producer().op_type, y.producer().name or "", "the axes are not constant: fold them")
    return tuple(sorted(int(a) % rank for a in values.ravel()))


def _kept(op, value, x, axes):
    """`value`, reduced from `x` over `axes`, with those axes kept at length 1."""
    shape = tuple(1 if i in axes else d for i, d in enumerate(shape_of(x)))
    return value if shape_of(value) == shape else op.Reshape(value, op.ints(shape))


@vjp("ReduceSum")
def reduce_sum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    kept = _kept(op, g, x, _reduced_axes(x, axes, noop_with_empty_axes, y))
    return op.Expand(kept, op.ints(shape_of(x)))


@vjp("ReduceMean")
def reduce_mean(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    reduced = _reduced_axes(x, axes, noop_with_empty_axes, y)
    count = 1
    for axis in reduced:
        count *= shape_of(x)[axis]
    kept = _kept(op, op.Mul(g, 1 / max(count, 1)), x, reduced)
    return op.Expand(kept, op.ints(shape_of(x)))


@vjp("ReduceMax", "ReduceMin")
def reduce_extremum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Ties share the cotangent evenly."""
    reduced = _reduced_axes(x, axes, noop_with_empty_axes, y)
    if not reduced:
        return g
    mask = op.Cast(op.Equal(x, _kept(op, y, x, reduced)), to=x.dtype)
    ties = op.ReduceSum(mask, op.ints(reduced), keepdims=1)
    return op.Mul(mask, op.Div(_kept(op, g, x, reduced), ties))


@vjp("ReduceProd")
def reduce_prod(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """The product of the others: a lone zero has one, beside a zero the others have none."""
    reduced = _reduced_axes(x, axes, noop_with_empty_axes, y)
    if not reduced:
        return g
    zero = op.Equal(x, 0.0)
    zeros = op.ReduceSum(op.Cast(zero, to=x.dtype), op.ints(reduced), keepdims=1)
    safe = op.Where(zero, 1.0, x)
    product = op.ReduceProd(safe, op.ints(reduced), keepdims=1)
    others = op.Div(op.Where(op.Equal(zeros, op.Cast(zero, to=x.dtype)), product, 0.0), safe)
    return op.Mul(_kept(op, g, x, reduced), others)


@vjp("ReduceL1")
def reduce_l1(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    return op.Mul(_kept(op, g, x, _reduced_axes(x, axes, noop_with_empty_axes, y)), sign(op, x))


@vjp("ReduceL2")
def reduce_l2(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    # The norm has no slope at 0; divided by 1 there, x itself makes it 0.
    slope = op.Div(g, op.Where(op.Greater(y, 0.0), y, 1.0))
    return op.Mul(_kept(op, slope, x, _reduced_axes(x, axes, noop_with_empty_axes, y)), x)


@vjp("ReduceSumSquare")
def reduce_sum_square(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    return op.Mul(_kept(op, op.Add(g, g), x, _reduced_axes(x, axes, noop_with_empty_axes, y)), x)


@vjp("ReduceLogSum")
def reduce_log_sum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    reduced = _reduced_axes(x, axes, noop_with_empty_axes, y)
    kept = _kept(op, op.Div(g, op.Exp(y)), x, reduced)
    return op.Expand(kept, op.ints(shape_of(x)))


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    reduced = _reduced_axes(x, axes, noop_with_empty_axes, y)
    return op.Mul(_kept(op, g, x, reduced), op.Exp(op.Sub(x, _kept(op, y, x, reduced))))


@vjp("CumSum")
def cum_sum(op, g, y, x, axis, *, exclusive=0, reverse=0):
    return op.CumSum(g, axis, exclusive=exclusive, reverse=1 - reverse)


@vjp("CumProd")
def cum_prod(op, g, y, x, axis, *, exclusive=0, reverse=0):
    """The product of all entries before one, times s: its own cotangent (or, exclusive, the next entry's) and the next
    entry's s times that entry. Divides by nothing, so that zeros do no harm."""
    along = constant_of(axis)
    if along is None:
        raise NoGradient("CumProd", y.producer().name or "", "its axis is not constant: fold it")
    rank = len(shape_of(x))
    front = [int(along.item()) % rank, *(i for i in range(rank) if i != int(along.item()) % rank)]

    def step(op, carried, scanned):
        s, next_x, next_g = carried
        own_g, own_x = scanned
        s = op.Add(op.Mul(next_x, s), next_g if exclusive else own_g)
        return [s, own_x, own_g], [s]

    moved = [op.Transpose(v, perm=front) for v in (g, x)]
    zeros = op.Expand(op.const(0, like=x), op.ints(shape_of(moved[0])[1:]))
    _, (sums,) = scan(op, step, [zeros] * 3, moved, backwards=not reverse)
    sums = op.Transpose(sums, perm=[int(i) for i in np.argsort(front)])
    return op.Mul(op.CumProd(x, axis, exclusive=1, reverse=reverse), sums)
