"""Normalisations, all by one formula.

With d = x - mean, inv = 1 / std and x̂ = d inv, the cotangent of x under that of x̂, g, is
inv (g - mean(g) - x̂ mean(g x̂)) (Ioffe and Szegedy 2015, section 3, without the batch); without centring, the
second term falls away.
"""

import numpy as np
import onnx_ir as ir

from auditor.autodiff.rules import vjp
from auditor.autodiff.rules.elementwise import sign
from auditor.errors import NoGradient
from auditor.graph.build import constant_of, shape_of


def _standardized(op, x, axes, epsilon, *, centred=True):
    """x̂ and inv over `axes`."""
    d = op.Sub(x, op.ReduceMean(x, op.ints(axes), keepdims=1)) if centred else x
    variance = op.ReduceMean(op.Mul(d, d), op.ints(axes), keepdims=1)
    inv = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
    return op.Mul(d, inv), inv


def _through(op, g, x_hat, inv, axes, *, centred=True):
    """The cotangent of x under the cotangent `g` of x̂."""
    slope = op.Mul(x_hat, op.ReduceMean(op.Mul(g, x_hat), op.ints(axes), keepdims=1))
    if centred:
        g = op.Sub(g, op.ReduceMean(g, op.ints(axes), keepdims=1))
    return op.Mul(inv, op.Sub(g, slope))


def _per_channel(op, vector, x):
    """A vector over the channels, shaped to multiply `x`."""
    shape = (-1, *[1] * (len(shape_of(x)) - 2))
    array = constant_of(vector)
    return op.Reshape(vector, op.ints(shape)) if array is None else op.const(array.reshape(shape))


def _channel_sum(op, value):
    """The sum over all but the channel axis."""
    axes = [i for i in range(len(shape_of(value))) if i != 1]
    return op.ReduceSum(value, op.ints(axes), keepdims=0)


@vjp("BatchNormalization", wrt=0)
def batch_norm(op, g, y, x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0):
    return op.Mul(g[0], _per_channel(op, _batch_norm_slope(op, y, scale, var, epsilon, training_mode), x))


@vjp("BatchNormalization", wrt=1)
def batch_norm_scale(op, g, y, x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0):
    one = op.const(1.0, like=x)
    inv = _per_channel(op, _batch_norm_slope(op, y, one, var, epsilon, training_mode), x)
    return _channel_sum(op, op.Mul(g[0], op.Mul(op.Sub(x, _per_channel(op, mean, x)), inv)))


@vjp("BatchNormalization", wrt=2)
def batch_norm_bias(op, g, y, x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0):
    return _channel_sum(op, g[0])


def _batch_norm_slope(op, y, scale, var, epsilon, training_mode):
    """scale / sqrt(var + epsilon): a constant of the deployed model, computed here where it can be."""
    if training_mode:
        why = "training_mode=1 lets the examples of a batch change one another; export the model for inference"
        raise NoGradient("BatchNormalization", y[0].producer().name or "", why)
    arrays = constant_of(scale), constant_of(var)
    if arrays[0] is not None and arrays[1] is not None:
        return op.const(arrays[0] / np.sqrt(arrays[1].astype(np.float64) + epsilon), like=scale)
    return op.Div(scale, op.Sqrt(op.Add(var, epsilon)))


@vjp("LayerNormalization", wrt=0)
def layer_norm(op, g, y, x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    axes = _axes_from(x, axis)
    x_hat, inv = _layer_standardized(op, g, y, x, axes, epsilon)
    return _through(op, op.Mul(g[0], scale), x_hat, inv, axes)


@vjp("LayerNormalization", wrt=1)
def layer_norm_scale(op, g, y, x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    x_hat, _ = _layer_standardized(op, g, y, x, _axes_from(x, axis), epsilon)
    return op.Mul(g[0], x_hat)


@vjp("LayerNormalization", wrt=2)
def layer_norm_bias(op, g, y, x, scale, bias, *, axis=-1, epsilon=1e-5, stash_type=1):
    return g[0]


def _axes_from(x, axis):
    rank = len(shape_of(x))
    return tuple(range(axis % rank, rank))


def _layer_standardized(op, g, y, x, axes, epsilon):
    """x̂ and inv, from the node's own Mean and InvStdDev where those have the type of x."""
    node = y[0].producer()
    if g[0] is None or any(cotangent is not None for cotangent in g[1:]):
        raise NoGradient("LayerNormalization", node.name or "", "its Mean or InvStdDev output reaches the scores")
    if x.dtype != ir.DataType.FLOAT:
        return _standardized(op, x, axes, epsilon)
    mean, inv = _statistics(node, x, axes)
    return op.Mul(op.Sub(x, mean), inv), inv


def _statistics(node, x, axes):
    """Mean and InvStdDev of a LayerNormalization: it computes both anyway, so asking for them costs nothing."""
    if len(node.outputs) < 3:
        node.resize_outputs(3)
    shape = ir.Shape(1 if i in axes else d for i, d in enumerate(shape_of(x)))
    for value, name in zip(node.outputs[1:], ("mean", "inv_std_dev"), strict=True):
        if not value.name:
            value.name = f"{node.outputs[0].name}_{name}"
        value.dtype, value.shape = ir.DataType.FLOAT, shape
    return node.outputs[1], node.outputs[2]


@vjp("RMSNormalization", wrt=0)
def rms_norm(op, g, y, x, scale, *, axis=-1, epsilon=1e-5, stash_type=1):
    axes = _axes_from(x, axis)
    x_hat, inv = _standardized(op, x, axes, epsilon, centred=False)
    return _through(op, op.Mul(g, scale), x_hat, inv, axes, centred=False)


@vjp("RMSNormalization", wrt=1)
def rms_norm_scale(op, g, y, x, scale, *, axis=-1, epsilon=1e-5, stash_type=1):
    return op.Mul(g, _standardized(op, x, _axes_from(x, axis), epsilon, centred=False)[0])


@vjp("InstanceNormalization", wrt=0)
def instance_norm(op, g, y, x, scale, bias, *, epsilon=1e-5):
    axes = range(2, len(shape_of(x)))
    x_hat, inv = _standardized(op, x, axes, epsilon)
    return _through(op, op.Mul(g, _per_channel(op, scale, x)), x_hat, inv, axes)


@vjp("InstanceNormalization", wrt=1)
def instance_norm_scale(op, g, y, x, scale, bias, *, epsilon=1e-5):
    return _channel_sum(op, op.Mul(g, _standardized(op, x, range(2, len(shape_of(x))), epsilon)[0]))


@vjp("InstanceNormalization", wrt=2)
def instance_norm_bias(op, g, y, x, scale, bias, *, epsilon=1e-5):
    return _channel_sum(op, g)


@vjp("GroupNormalization", wrt=0)
def group_norm(op, g, y, x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    grouped = op.ints((shape_of(x)[0], num_groups, -1))
    x_hat, inv = _standardized(op, op.Reshape(x, grouped), (2,), epsilon)
    scaled = op.Reshape(op.Mul(g, _per_channel(op, scale, x)), grouped)
    return op.Reshape(_through(op, scaled, x_hat, inv, (2,)), op.ints(shape_of(x)))


@vjp("GroupNormalization", wrt=1)
def group_norm_scale(op, g, y, x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    grouped = op.ints((shape_of(x)[0], num_groups, -1))
    x_hat, _ = _standardized(op, op.Reshape(x, grouped), (2,), epsilon)
    return _channel_sum(op, op.Mul(g, op.Reshape(x_hat, op.ints(shape_of(x)))))


@vjp("GroupNormalization", wrt=2)
def group_norm_bias(op, g, y, x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    return _channel_sum(op, g)


@vjp("MeanVarianceNormalization")
def mean_variance_norm(op, g, y, x, *, axes=(0, 2, 3)):
    d = op.Sub(x, op.ReduceMean(x, op.ints(axes), keepdims=1))
    std = op.Sqrt(op.ReduceMean(op.Mul(d, d), op.ints(axes), keepdims=1))
    # The standard adds 1e-9 to the deviation, not to the variance.
    return _through(op, g, y, op.Reciprocal(op.Add(std, 1e-9)), axes)


@vjp("LpNormalization")
def lp_norm(op, g, y, x, *, axis=-1, p=2):
    """(g - n' sum(g y)) / n with n the norm and n' its slope; 0 for the zero vector, which has none."""
    axes = op.ints([axis])
    norm = op.ReduceL1(x, axes, keepdims=1) if p == 1 else op.ReduceL2(x, axes, keepdims=1)
    slope = sign(op, x) if p == 1 else y
    cotangent = op.Sub(g, op.Mul(slope, op.ReduceSum(op.Mul(g, y), axes, keepdims=1)))
    positive = op.Greater(norm, 0.0)
    return op.Where(positive, op.Div(cotangent, op.Where(positive, norm, 1.0)), 0.0)


@vjp("LRN")
def lrn(op, g, y, x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    """y = x d^-beta, d = bias + alpha/size (sum of x² over `size` neighbouring channels), Krizhevsky 2012, 3.3."""
    n, channels, *rest = shape_of(x)
    channel = np.arange(channels)
    offset = channel[None, :] - channel[:, None]
    window = ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(np.float64)

    def summed(matrix, value):
        flat = op.Reshape(value, op.ints((n, channels, -1)))
        return op.Reshape(op.MatMul(op.const(matrix * (alpha / size), like=x), flat), op.ints((n, channels, *rest)))

    d = op.Add(summed(window, op.Mul(x, x)), bias)
    neighbours = summed(window.T, op.Div(op.Mul(g, y), d))
    return op.Sub(op.Mul(g, op.Pow(d, -beta)), op.Mul(op.Mul(x, 2 * beta), neighbours))
