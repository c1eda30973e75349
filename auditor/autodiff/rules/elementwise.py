"""Arithmetic with broadcasting, and the elementary functions.

Un-broadcasting happens in the walk, so a rule may give the output's shape. Formulas prefer the output over the
input where both serve: the input's life stays short, and the runtime may still fuse the operator with the one
before it.
"""

import math
from functools import reduce

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import stops, vjp
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of

# Operators whose output ONNX Runtime fuses with a clip that follows, as long as nothing else reads it.
FUSED_WITH_CLIP = ("Conv", "ConvTranspose", "BatchNormalization", "Gemm")

# Steep enough that a hard sigmoid is a step for every float32, and a power of 2, so that scaling rounds nothing.
STEEP = 2.0**60


def above(op, y, low=0.0):
    """1 where y > low, else 0.

    As a hard sigmoid, because ONNX Runtime keeps that in its blocked convolution layout; a comparison or a
    cast makes it reorder the tensor there and back (measured: a quarter of a MobileNet's whole gradient).
    """
    if _steps_exactly(y, low):
        return op.HardSigmoid(y, alpha=STEEP, beta=-low * STEEP)
    return op.Cast(op.Greater(y, low), to=y.dtype)


def below(op, y, high):
    """1 where y < high, else 0."""
    if _steps_exactly(y, high):
        return op.HardSigmoid(y, alpha=-STEEP, beta=high * STEEP)
    return op.Cast(op.Less(y, high), to=y.dtype)


def _steps_exactly(y, bound):
    return y.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE) and (bound == 0 or 2**-30 < abs(bound) < 2**60)


def one_minus(op, y):
    """1 - y for 0 <= y <= 1, in a form that stays in the blocked layout like `above`."""
    if y.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return op.HardSigmoid(y, alpha=-1.0, beta=1.0)
    return op.Sub(1.0, y)


def sign(op, x):
    """The sign, in half the time of ONNX Runtime's Sign."""
    if x.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return op.Clip(op.Mul(x, STEEP), -1.0, 1.0)
    return op.Sign(x)


@vjp("Add", "Sum", wrt=None)
def add(op, g, y, *inputs, index):
    return g


vjp("Sub", wrt=0)(lambda op, g, y, a, b: g)
vjp("Sub", wrt=1)(lambda op, g, y, a, b: op.Neg(g))
vjp("Div", wrt=0)(lambda op, g, y, a, b: op.Div(g, b))
vjp("Div", wrt=1)(lambda op, g, y, a, b: op.Div(op.Mul(g, y), op.Neg(b)))


@vjp("Mul", wrt=0)
def mul_a(op, g, y, a, b):
    return _gated(op, g, y, a, b)


@vjp("Mul", wrt=1)
def mul_b(op, g, y, a, b):
    return _gated(op, g, y, b, a)


def _gated(op, g, y, x, other):
    """The product's cotangent of x. Where x is multiplied by its own sigmoid s (a spelt-out SiLU), the whole slope,
    s + y (1 - s), comes at once through x and nothing through s: four passes over memory in the place of seven."""
    if _is_own_sigmoid(x, other):
        return op.Mul(g, op.Add(other, op.Mul(y, one_minus(op, other))))
    return None if _is_own_sigmoid(other, x) else op.Mul(g, other)


def _is_own_sigmoid(x, s):
    node = s.producer()
    return node is not None and node.op_type == "Sigmoid" and node.inputs[0] is x


@vjp("Mean", wrt=None)
def mean(op, g, y, *inputs, index):
    return op.Mul(g, 1 / len(inputs))


@vjp("Mod", wrt=0)
def mod_a(op, g, y, a, b, *, fmod=0):
    return g


@vjp("Mod", wrt=1)
def mod_b(op, g, y, a, b, *, fmod=0):
    # (y - a) / b is minus the whole quotient, whichever way the remainder is signed.
    return op.Mul(g, op.Div(op.Sub(y, a), b))


@vjp("Pow", wrt=0)
def pow_base(op, g, y, x, p):
    """g p x^(p-1), and 0 where that is infinite (x = 0, p < 1) or the exponent is 0."""
    exponent = constant_of(p)
    if exponent is None:
        p = op.Cast(p, to=x.dtype)
        power = op.Pow(x, op.Where(op.Equal(p, 0.0), 0.0, op.Sub(p, 1.0)))
        steep = op.And(op.Equal(x, 0.0), op.Less(p, 1.0))
        return op.Where(steep, 0.0, op.Mul(op.Mul(g, p), power))
    exponent = exponent.astype(np.float64)
    if exponent.size == 1 and exponent.item() == 2:
        return op.Mul(g, op.Add(x, x))
    power = op.Pow(x, op.const(np.where(exponent == 0, 0, exponent - 1), like=x))
    cotangent = op.Mul(op.Mul(g, op.const(exponent, like=x)), power)
    return cotangent if np.all((exponent >= 1) | (exponent == 0)) else op.Where(op.Equal(x, 0.0), 0.0, cotangent)


@vjp("Pow", wrt=1)
def pow_exponent(op, g, y, x, p):
    # A real power of a negative base does not exist beside the whole exponents: no slope there, not NaN.
    log = op.Log(op.Where(op.Greater(x, 0.0), x, 1.0))
    cotangent = op.Mul(g, op.Mul(y, log))
    return cotangent if p.dtype == x.dtype else op.Cast(cotangent, to=p.dtype)


vjp("Neg")(lambda op, g, y, x: op.Neg(g))
vjp("Abs")(lambda op, g, y, x: op.Mul(g, sign(op, x)))
vjp("Reciprocal")(lambda op, g, y, x: op.Neg(op.Mul(g, op.Mul(y, y))))
vjp("Exp")(lambda op, g, y, x: op.Mul(g, y))
vjp("Log")(lambda op, g, y, x: op.Div(g, x))
vjp("Erf")(lambda op, g, y, x: op.Mul(g, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2 / math.sqrt(math.pi))))

vjp("Sin")(lambda op, g, y, x: op.Mul(g, op.Cos(x)))
vjp("Cos")(lambda op, g, y, x: op.Neg(op.Mul(g, op.Sin(x))))
vjp("Tan")(lambda op, g, y, x: op.Mul(g, op.Add(op.Mul(y, y), 1.0)))
vjp("Asin")(lambda op, g, y, x: op.Div(g, op.Sqrt(op.Sub(1.0, op.Mul(x, x)))))
vjp("Acos")(lambda op, g, y, x: op.Neg(op.Div(g, op.Sqrt(op.Sub(1.0, op.Mul(x, x))))))
vjp("Atan")(lambda op, g, y, x: op.Div(g, op.Add(op.Mul(x, x), 1.0)))
vjp("Sinh")(lambda op, g, y, x: op.Mul(g, op.Cosh(x)))
vjp("Cosh")(lambda op, g, y, x: op.Mul(g, op.Sinh(x)))
vjp("Tanh")(lambda op, g, y, x: op.Mul(g, one_minus(op, op.Mul(y, y))))
vjp("Asinh")(lambda op, g, y, x: op.Div(g, op.Sqrt(op.Add(op.Mul(x, x), 1.0))))
vjp("Acosh")(lambda op, g, y, x: op.Div(g, op.Sqrt(op.Sub(op.Mul(x, x), 1.0))))
vjp("Atanh")(lambda op, g, y, x: op.Div(g, op.Sub(1.0, op.Mul(x, x))))


@vjp("Sqrt")
def sqrt(op, g, y, x):
    # The slope at 0 is infinite; norms of empty patches meet it, and 0 * inf would spoil the whole gradient.
    return op.Where(op.Greater(y, 0.0), op.Div(op.Mul(g, 0.5), y), 0.0)


@vjp("Clip", wrt=0)
def clip(op, g, y, x, low=None, high=None):
    """g where low <= x <= high: pixels that sit exactly on the bounds keep their gradient.

    Behind a convolution the mask is read off the output, open at the bounds: exact hits have measure zero there.
    """
    bounds = [None if bound is None else constant_of(bound) for bound in (low, high)]
    known = all(bound is None or array is not None for bound, array in zip((low, high), bounds, strict=True))
    if known and x.producer() is not None and x.producer().op_type in FUSED_WITH_CLIP:
        masks = [] if bounds[0] is None else [above(op, y, bounds[0].item())]
        masks += [] if bounds[1] is None else [below(op, y, bounds[1].item())]
        # The masks meet first: wherever g lies, one tensor is reordered to meet it, not two.
        return op.Mul(g, reduce(op.Mul, masks)) if masks else g
    return op.Mul(g, op.Cast(op.Equal(x, y), to=g.dtype))


@vjp("Clip", wrt=1)
def clip_low(op, g, y, x, low, high=None):
    below = op.Less(x, low)
    return op.Where(below if high is None else op.And(below, op.LessOrEqual(low, high)), g, 0.0)


@vjp("Clip", wrt=2)
def clip_high(op, g, y, x, low, high):
    # Where low > high, the standard lets high win everywhere.
    return op.Where(op.Greater(x if low is None else op.Max(x, low), high), g, 0.0)


@vjp("Min", "Max", wrt=None)
def extremum(op, g, y, *inputs, index):
    """Ties share the cotangent evenly."""
    if len(inputs) == 1:
        return g
    masks = [op.Cast(op.Equal(x, y), to=g.dtype) for x in inputs]
    return op.Mul(g, op.Div(masks[index], op.Sum(*masks)))


# A choice, not a product with the mask: 0 * inf is NaN.
vjp("Where", wrt=1)(lambda op, g, y, condition, a, b: op.Where(condition, g, 0.0))
vjp("Where", wrt=2)(lambda op, g, y, condition, a, b: op.Where(condition, 0.0, g))

vjp("Identity")(lambda op, g, y, x: g)


@vjp("Cast")
def cast(op, g, y, x, *, to, saturate=1, round_mode="up"):
    return op.Cast(g, to=x.dtype)


@vjp("CastLike")
def cast_like(op, g, y, x, target, *, saturate=1, round_mode="up"):
    return op.Cast(g, to=x.dtype)


@vjp("Dropout")
def dropout(op, g, y, x, ratio=None, training_mode=None, *, seed=None):
    """The identity at inference; a dropout that stays switched on passes the cotangent through its own draw."""
    if training_mode is None:
        return g[0]
    switched_on = constant_of(training_mode)
    if switched_on is None:
        raise NoGradient("Dropout", y[0].producer().name or "", "training_mode is not constant: fold it")
    if not switched_on:
        return g[0]
    scale = op.Sub(1.0, op.Cast(ratio, to=x.dtype)) if ratio is not None else 0.5
    return op.Where(_mask(y), op.Div(g[0], scale), 0.0)


def _mask(y):
    """The mask output of a Dropout, asked for where the model did not."""
    node = y[0].producer()
    if len(node.outputs) == 1:
        node.resize_outputs(2)
        mask = node.outputs[1]
        mask.name, mask.dtype, mask.shape = f"{y[0].name}_mask", ir.DataType.BOOL, ir.Shape(shape_of(y[0]))
    return node.outputs[1]


stops("piecewise constant: its slope is zero wherever it exists", "Sign", "Round", "Floor", "Ceil")
stops("a truth value has no slope", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf")
stops("takes and gives no real numbers", "And", "Or", "Xor", "Not", "BitShift", "BitCast")
stops("takes and gives no real numbers", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
