"""Activation functions. Masks come from the output where its sign tells the input's."""

import math

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import stops, vjp
from auditor.autodiff.rules.elementwise import above, below, one_minus
from auditor.graph.build import shape_of


@vjp("Relu")
def relu(op, g, y, x):
    return op.Mul(g, above(op, y))


@vjp("LeakyRelu")
def leaky_relu(op, g, y, x, *, alpha=0.01):
    step = above(op, y if alpha >= 0 else x)
    if 0 <= alpha <= 1:
        return op.Mul(g, op.Max(step, alpha))
    return op.Mul(g, op.Add(op.Mul(step, 1 - alpha), alpha))


@vjp("PRelu", wrt=0)
def prelu(op, g, y, x, slope):
    return op.Where(op.Greater(x, 0.0), g, op.Mul(g, slope))


@vjp("PRelu", wrt=1)
def prelu_slope(op, g, y, x, slope):
    return op.Mul(g, op.Min(x, 0.0))


@vjp("ThresholdedRelu")
def thresholded_relu(op, g, y, x, *, alpha=1.0):
    if alpha >= 0:
        return op.Mul(g, above(op, y))
    return op.Where(op.Greater(x, alpha), g, 0.0)


@vjp("Elu")
def elu(op, g, y, x, *, alpha=1.0):
    if alpha == 1:
        return op.Mul(g, op.Min(op.Add(y, 1.0), 1.0))
    positive = op.Greater(y if alpha > 0 else x, 0.0)
    return op.Where(positive, g, op.Mul(g, op.Add(y, alpha)))


@vjp("Celu")
def celu(op, g, y, x, *, alpha=1.0):
    return op.Where(op.Greater(y, 0.0), g, op.Mul(g, op.Add(op.Mul(y, 1 / alpha), 1.0)))


@vjp("Selu")
def selu(op, g, y, x, *, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875):
    return op.Mul(g, op.Where(op.Greater(x, 0.0), gamma, op.Add(y, alpha * gamma)))


vjp("Softplus")(lambda op, g, y, x: op.Mul(g, op.Sigmoid(x)))
vjp("Sigmoid")(lambda op, g, y, x: op.Mul(g, op.Mul(y, one_minus(op, y))))


@vjp("Softsign")
def softsign(op, g, y, x):
    slope = op.Sub(1.0, op.Abs(y))
    return op.Mul(g, op.Mul(slope, slope))


@vjp("HardSigmoid")
def hard_sigmoid(op, g, y, x, *, alpha=0.2, beta=0.5):
    return op.Mul(op.Mul(g, alpha), op.Mul(above(op, y), below(op, y, 1.0)))


@vjp("HardSwish")
def hard_swish(op, g, y, x):
    """With gate = clip(x/6 + 1/2, 0, 1): gate + x/6 where the gate slopes, the gate itself where it is flat."""
    gate = op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    slopes = op.Mul(above(op, gate), below(op, gate, 1.0))
    return op.Mul(g, op.Add(gate, op.Mul(_centred(op, gate), slopes)))


def _centred(op, gate):
    """gate - 1/2; of images as a normalisation, which stays in the blocked layout."""
    shape = shape_of(gate)
    if len(shape) != 4:
        return op.Sub(gate, 0.5)
    ones = op.const(np.ones(shape[1]), like=gate)
    zeros, bias = (op.const(np.full(shape[1], v), like=gate) for v in (0.0, -0.5))
    return op.BatchNormalization(gate, ones, bias, zeros, ones, epsilon=0.0)


@vjp("Swish")
def swish(op, g, y, x, *, alpha=1.0):
    """With s = sigmoid(alpha x) and y = x s, the slope is s + alpha y (1 - s)."""
    gate = op.Sigmoid(op.Mul(x, alpha) if alpha != 1 else x)
    scaled = op.Mul(y, alpha) if alpha != 1 else y
    return op.Mul(g, op.Add(gate, op.Mul(scaled, one_minus(op, gate))))


@vjp("Mish")
def mish(op, g, y, x):
    """With t = tanh(log(1 + e)) = n / (n + 2), e = exp(x), n = e² + 2e: t + x sigmoid(x) (1 - t²)."""
    # ONNX Runtime's Softplus takes a hundred times as long as its Exp; beyond 20, t is 1 in float32.
    e = op.Exp(op.Min(x, 20.0))
    n = op.Mul(e, op.Add(e, 2.0))
    t = op.Div(n, op.Add(n, 2.0))
    through_gate = op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(1.0, op.Mul(t, t)))
    return op.Mul(g, op.Add(t, through_gate))


@vjp("Gelu")
def gelu(op, g, y, x, *, approximate="none"):
    slope = _gelu_tanh_slope(op, x, y) if approximate == "tanh" else _gelu_slope(op, x)
    return op.Mul(g, slope)


def _gelu_slope(op, x):
    """Phi(x) + x phi(x) of the normal distribution; with u = x / sqrt(2), x phi(x) = u exp(-u²) / sqrt(pi)."""
    u = op.Mul(x, math.sqrt(0.5))
    density = op.Exp(op.Sub(-0.5 * math.log(math.pi), op.Mul(u, u)))
    return op.Add(_halfway(op, op.Erf(u)), op.Mul(u, density))


def _gelu_tanh_slope(op, x, y):
    """Of x s with s = sigmoid(v), v = 2 sqrt(2/pi) (x + c x³), which is the tanh form: s + y (1 - s) v'."""
    k, c = 2 * math.sqrt(2 / math.pi), 0.044715
    square = op.Mul(x, x)
    s = op.Sigmoid(op.Mul(x, op.Add(op.Mul(square, k * c), k)))
    dv = op.Add(op.Mul(square, 3 * k * c), k)
    return op.Add(s, op.Mul(op.Mul(y, one_minus(op, s)), dv))


def _halfway(op, t):
    """(1 + t) / 2 for -1 <= t <= 1, in one pass over memory."""
    if t.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return op.HardSigmoid(t, alpha=0.5, beta=0.5)
    return op.Add(op.Mul(t, 0.5), 0.5)


@vjp("Shrink")
def shrink(op, g, y, x, *, bias=0.0, lambd=0.5):
    return op.Where(op.Greater(op.Abs(x), lambd), g, 0.0)


@vjp("Softmax")
def softmax(op, g, y, x, *, axis=-1):
    if any(user.op_type == "Where" for user, _ in y.uses()):
        # What is masked throughout has no softmax, and is replaced behind: it takes no cotangent, not 0 * NaN.
        y = op.Where(op.IsNaN(y), 0.0, y)
    gy = op.Mul(g, y)
    return op.Sub(gy, op.Mul(y, op.ReduceSum(gy, op.ints([axis]), keepdims=1)))


@vjp("LogSoftmax")
def log_softmax(op, g, y, x, *, axis=-1):
    return op.Sub(g, op.Mul(op.Exp(y), op.ReduceSum(g, op.ints([axis]), keepdims=1)))


stops("gives a class, not a score: its slope is zero wherever it exists", "Hardmax")
