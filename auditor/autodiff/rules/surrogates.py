"""What stands in for slopes that lead nowhere. Nothing here is a derivative, and no report calls it white-box.

A rounding passes the cotangent as it is, a step passes that of x / (1 + |x|), which has the step's ends and never dies
out, and a choice of the largest that of a softmax. Values that are no floats come as float32 numbers.
"""

import onnx_ir as ir

from auditor.autodiff.rules import RULES, SATURATING, stops, surrogate, vjp
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of

_RANGES = {
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
}
_IDENTITY = "the identity"
_LEVELS = "the identity within the range of levels"
_SOFT = "the slope of x / (1 + |x|), x the distance from the step"


def _gentle(op, x):
    """1 / (1 + |x|)², the slope of x / (1 + |x|)."""
    root = op.Add(op.Abs(x), 1.0)
    return op.Reciprocal(op.Mul(root, root))


@surrogate(_IDENTITY, "Round", "Floor", "Ceil")
def rounding(op, g, y, x):
    return g


@surrogate("the identity, as if nothing were cut off", "Cast")
def cast(op, g, y, x, *, to, saturate=1, round_mode="up"):
    return op.Cast(g, to=x.dtype)


@surrogate("nothing: a remainder counts as what a rounding cuts off", "Mod")
def remainder(op, g, y, a, b, *, fmod=0):
    return None


@surrogate(_SOFT, "Sign")
def sign(op, g, y, x):
    return op.Mul(g, _gentle(op, x))


@surrogate(_SOFT, "Greater", "GreaterOrEqual", wrt=None)
def greater(op, g, y, a, b, *, index):
    slope = op.Mul(op.Mul(g, 0.5), _gentle(op, op.Sub(a, b)))
    return slope if index == 0 else op.Neg(slope)


@surrogate(_SOFT, "Less", "LessOrEqual", wrt=None)
def less(op, g, y, a, b, *, index):
    return greater(op, g, y, a, b, index=1 - index)


_LOGIC = "the slope of the same in numbers from 0 to 1"
surrogate(_LOGIC, "Not")(lambda op, g, y, x: op.Neg(g))


@surrogate(_LOGIC, "And", wrt=None)
def conjunction(op, g, y, a, b, *, index):
    return op.Mul(g, b if index == 0 else a)


@surrogate(_LOGIC, "Or", wrt=None)
def disjunction(op, g, y, a, b, *, index):
    return op.Mul(g, op.Sub(1.0, b if index == 0 else a))


@surrogate(_LOGIC, "Xor", wrt=None)
def exclusion(op, g, y, a, b, *, index):
    return op.Mul(g, op.Sub(1.0, op.Mul(b if index == 0 else a, 2.0)))


def _constant(*inputs):
    return lambda node, policy: all(constant_of(node.inputs[i]) is not None for i in inputs)


@surrogate(
    "the difference of the two values",
    "Where",
    where=lambda node, policy: policy == "choices" or _constant(1, 2)(node, policy),
)
def choice(op, g, y, condition, a, b):
    """A choice between values that have slopes of their own is followed through these alone, but where it is asked for: a
    leaky ReLU written so is no step, one of the largest activations is."""
    return op.Mul(g, op.Cast(op.Sub(a, b), to=g.dtype))


@surrogate("the slope of a softmax", "Hardmax")
def largest(op, g, y, x, *, axis=-1):
    return RULES["Softmax", 0](op, g, op.Softmax(x, axis=axis), x, axis=axis)


@surrogate("a multiplication by a power of two", "BitShift", where=_constant(1))
def shift(op, g, y, x, bits, *, direction):
    """What falls off at the end counts as a rounding."""
    powers = op.Pow(op.const(2.0, like=g), bits)
    return op.Div(g, powers) if direction == "RIGHT" else op.Mul(g, powers)


@surrogate(_IDENTITY, "BitwiseAnd", wrt=0, where=_constant(1))
def masked(op, g, y, a, mask):
    return g


@surrogate(_IDENTITY, "BitwiseAnd", wrt=1, where=_constant(0))
def masking(op, g, y, mask, b):
    return g


@surrogate(_LEVELS, "QuantizeLinear")
def quantised(op, g, y, x, scale, zero=None, *, axis=1, block_size=0, **attributes):
    per_level = _along(op, scale, x, axis, block_size)
    if y.dtype not in _RANGES:
        return op.Div(g, per_level)
    low, high = _RANGES[y.dtype]
    level = op.Div(x, per_level)
    if zero is not None:
        level = op.Add(level, _along(op, _real(op, zero), x, axis, block_size))
    inside = op.And(op.GreaterOrEqual(level, low - 0.5), op.LessOrEqual(level, high + 0.5))
    return op.Where(inside, op.Div(g, per_level), 0.0)


@surrogate(_LEVELS, "QuantizeLinear", wrt=1)
def quantised_scale(op, g, y, x, scale, zero=None, **attributes):
    """Of one scale for the whole tensor, as dynamic quantisation computes it."""
    if shape_of(scale) not in ((), (1,)):
        raise NoGradient("QuantizeLinear", "", "a scale per channel depends on the input")
    return op.Neg(op.Div(op.Mul(g, x), op.Mul(scale, scale)))


@vjp("DequantizeLinear")
def dequantised(op, g, y, x, scale, zero=None, *, axis=1, block_size=0, **attributes):
    return op.Mul(g, _along(op, scale, x, axis, block_size))


@vjp("DequantizeLinear", wrt=1)
def dequantised_scale(op, g, y, x, scale, zero=None, *, axis=1, **attributes):
    if shape_of(scale) not in ((), (1,)):
        raise NoGradient("DequantizeLinear", "", "a scale per channel depends on the input")
    return op.Div(op.Mul(g, y), scale)


@vjp("MatMulInteger", wrt=0)
def matmul_left(op, g, y, a, b, a_zero=None, b_zero=None):
    return RULES["MatMul", 0](op, g, y, a, _centred(op, b, b_zero, -1))


@vjp("MatMulInteger", wrt=1)
def matmul_right(op, g, y, a, b, a_zero=None, b_zero=None):
    return RULES["MatMul", 1](op, g, y, _centred(op, a, a_zero, -2), b)


@vjp("ConvInteger")
def convolution(op, g, y, x, w, x_zero=None, w_zero=None, **attributes):
    return RULES["Conv", 0](op, g, y, x, _centred(op, w, w_zero, 0), None, **attributes)


@surrogate(_LEVELS, "QLinearMatMul")
def quantised_matmul(op, g, y, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    weight = op.Mul(_centred(op, b, b_zero, -1), _last(op, b_scale, -1, b))
    g = RULES["MatMul", 0](op, _within(op, op.Div(g, y_scale), y), y, a, weight)
    return op.Mul(g, a_scale)


@surrogate(_LEVELS, "QLinearMatMul", wrt=3)
def quantised_matmul_right(op, g, y, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    left = op.Mul(_centred(op, a, a_zero, -2), _last(op, a_scale, -2, a))
    g = RULES["MatMul", 1](op, _within(op, op.Div(g, y_scale), y), y, left, b)
    return op.Mul(g, _last(op, b_scale, -1, b))


@surrogate(_LEVELS, "QLinearConv")
def quantised_convolution(op, g, y, x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias=None, **attributes):
    weight = op.Mul(_centred(op, w, w_zero, 0), _last(op, w_scale, 0, w))
    g = RULES["Conv", 0](op, _within(op, op.Div(g, y_scale), y), y, x, weight, None, **attributes)
    return op.Mul(g, x_scale)


@surrogate("the slope of x / (1 + |x|), as steep at 0", "Tanh", table=SATURATING)
def tanh(op, g, y, x):
    return op.Mul(g, _gentle(op, x))


@surrogate("the slope of x / (1 + |x|), as steep at 0", "Sigmoid", table=SATURATING)
def sigmoid(op, g, y, x):
    return op.Mul(op.Mul(g, 0.25), _gentle(op, op.Mul(x, 0.5)))


@surrogate("the slope of x / (1 + |x|), as steep in the middle", "HardSigmoid", table=SATURATING)
def hard_sigmoid(op, g, y, x, *, alpha=0.2, beta=0.5):
    return op.Mul(op.Mul(g, alpha), _gentle(op, op.Mul(op.Add(op.Mul(x, alpha), beta - 0.5), 2.0)))


def _real(op, x):
    return x if x.dtype == ir.DataType.FLOAT else op.Cast(x, to=ir.DataType.FLOAT)


def _along(op, scale, x, axis, block_size=0):
    """A scale per tensor, per entry along `axis` of x, or per block of entries along it, so that it broadcasts over x."""
    have, shape = shape_of(scale), shape_of(x)
    if have in ((), (1,)):
        return scale if not have else op.Reshape(scale, op.ints([]))
    if len(have) == 1:
        return _last(op, scale, axis, x)
    axis %= len(shape)
    split, whole = [*have[: axis + 1], 1, *have[axis + 1 :]], [*have[: axis + 1], block_size, *have[axis + 1 :]]
    entries = op.Expand(op.Reshape(scale, op.ints(split)), op.ints(whole))
    repeated = op.Reshape(entries, op.ints([-1 if i == axis else n for i, n in enumerate(have)]))
    return op.Slice(repeated, op.ints([0]), op.ints([shape[axis]]), op.ints([axis]))


def _last(op, values, axis, x):
    """A vector along `axis` of x, broadcastable over x; a number stays one."""
    if shape_of(values) in ((), (1,)):
        return values
    rank = len(shape_of(x))
    return op.Reshape(values, op.ints([-1 if i == axis % rank else 1 for i in range(rank)]))


def _centred(op, levels, zero, axis):
    """Levels as numbers above their zero point."""
    return _real(op, levels) if zero is None else op.Sub(_real(op, levels), _last(op, _real(op, zero), axis, levels))


def _within(op, g, y):
    """No cotangent where the level is the last of its range: there it is cut off, as by a ReLU that was merged."""
    low, high = _RANGES[y.dtype]
    level = _real(op, y)
    return op.Where(op.And(op.Greater(level, float(low)), op.Less(level, float(high))), g, 0.0)


stops("rounds to whole levels: its slope is zero wherever it exists", "QuantizeLinear")
