"""ONNX Runtime's own quantised operators, as the standard's.

A QLinear operator becomes the float operator between DequantizeLinear and QuantizeLinear, which is what it says and what
ONNX Runtime's optimiser makes it from; the last level may differ by rounding. Weights of a few bits become float32.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.rewriting import rewrites

_LEVEL_BITS = (2, 4, 8)


@rewrites("QuantizeLinear")
def _quantize(op: Builder, x: ir.Value, scale: ir.Value, zero: ir.Value | None = None, **attributes: Any) -> ir.Value:
    return op.QuantizeLinear(x, scale, zero, **attributes)


@rewrites("DequantizeLinear")
def _dequantize(op: Builder, q: ir.Value, scale: ir.Value, zero: ir.Value | None = None, **how: Any) -> ir.Value:
    return op.DequantizeLinear(q, scale, zero, **how)


@rewrites("QLinearAdd")
def _add(op: Builder, *inputs: ir.Value | None) -> ir.Value | None:
    return _levels(op, op.Add(_real(op, *inputs[:3]), _real(op, *inputs[3:6])), *inputs[6:])


@rewrites("QLinearMul")
def _mul(op: Builder, *inputs: ir.Value | None) -> ir.Value | None:
    return _levels(op, op.Mul(_real(op, *inputs[:3]), _real(op, *inputs[3:6])), *inputs[6:])


@rewrites("QLinearConcat")
def _concat(op: Builder, y_scale: ir.Value, y_zero: ir.Value, *inputs: ir.Value, axis: int) -> ir.Value | None:
    parts = [_real(op, *inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return _levels(op, op.Concat(*parts, axis=axis), y_scale, y_zero)


@rewrites("QLinearWhere")
def _where(op: Builder, condition: ir.Value, *inputs: ir.Value) -> ir.Value | None:
    chosen = op.Where(condition, _real(op, *inputs[:3]), _real(op, *inputs[3:6]))
    return _levels(op, chosen, *inputs[6:])


@rewrites("QLinearLeakyRelu")
def _leaky_relu(op: Builder, *inputs: ir.Value | None, alpha: float = 0.01) -> ir.Value | None:
    return _levels(op, op.LeakyRelu(_real(op, *inputs[:3]), alpha=alpha), *inputs[3:])


@rewrites("QLinearSigmoid")
def _sigmoid(op: Builder, *inputs: ir.Value | None) -> ir.Value | None:
    return _levels(op, op.Sigmoid(_real(op, *inputs[:3])), *inputs[3:])


@rewrites("QLinearSoftmax")
def _softmax(op: Builder, *inputs: ir.Value, axis: int = -1, opset: int) -> ir.Value | None:
    x = _real(op, *inputs[:3])
    if opset >= 13:
        return _levels(op, op.Softmax(x, axis=axis), *inputs[3:])
    rows = op.Softmax(op.Flatten(x, axis=axis % len(shape_of(x))), axis=1)
    return _levels(op, op.Reshape(rows, op.ints(shape_of(x))), *inputs[3:])


@rewrites("QLinearGlobalAveragePool")
def _global_average_pool(op: Builder, *inputs: ir.Value, channels_last: int = 0) -> ir.Value | None:
    x = _real(op, *inputs[:3])
    rank = len(shape_of(x))
    axes = range(1, rank - 1) if channels_last else range(2, rank)
    return _levels(op, op.ReduceMean(x, op.ints(axes), keepdims=1), *inputs[3:])


@rewrites("QLinearAveragePool")
def _average_pool(op: Builder, *inputs: ir.Value | None, channels_last: int = 0, **how: Any) -> ir.Value | None:
    return None if channels_last else _levels(op, op.AveragePool(_real(op, *inputs[:3]), **how), *inputs[3:])


@rewrites("QLinearConv")
def _conv(op: Builder, *inputs: ir.Value | None, channels_last: int = 0, **how: Any) -> ir.Value | None:
    return None if channels_last else op.QLinearConv(*inputs, **how)


@rewrites("QGemm")
def _gemm(
    op: Builder,
    a: ir.Value,
    a_scale: ir.Value,
    a_zero: ir.Value,
    b: ir.Value,
    b_scale: ir.Value,
    b_zero: ir.Value,
    c: ir.Value | None = None,
    y_scale: ir.Value | None = None,
    y_zero: ir.Value | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> ir.Value | None:
    """The bias C counts in steps of alpha * a_scale * b_scale; a scale of B may be one per column of the product."""
    left, right = _real(op, a, a_scale, a_zero), op.DequantizeLinear(b, b_scale, b_zero, axis=0 if transB else 1)
    bias = None if c is None else op.Mul(op.Cast(c, to=ir.DataType.FLOAT), op.Mul(op.Mul(a_scale, b_scale), alpha))
    y = op.Gemm(left, right, bias, alpha=alpha, transA=transA, transB=transB)
    return y if y_scale is None else _levels(op, y, y_scale, y_zero)


@rewrites("MatMulIntegerToFloat")
def _matmul_integer(
    op: Builder,
    a: ir.Value,
    b: ir.Value,
    a_scale: ir.Value,
    b_scale: ir.Value,
    a_zero: ir.Value | None = None,
    b_zero: ir.Value | None = None,
    bias: ir.Value | None = None,
) -> ir.Value:
    whole = op.Cast(op.MatMulInteger(a, b, a_zero, b_zero), to=ir.DataType.FLOAT)
    y = op.Mul(whole, op.Mul(a_scale, b_scale))
    return y if bias is None else op.Add(y, bias)


@rewrites("DynamicQuantizeMatMul")
def _dynamic_matmul(
    op: Builder,
    a: ir.Value,
    b: ir.Value,
    b_scale: ir.Value,
    b_zero: ir.Value | None = None,
    bias: ir.Value | None = None,
) -> ir.Value:
    levels, scale, zero = op.DynamicQuantizeLinear(a, _outputs=3)
    return _matmul_integer(op, levels, b, scale, b_scale, zero, b_zero, bias)


@rewrites("MatMulNBits")
def _matmul_of_few_bits(
    op: Builder,
    a: ir.Value,
    b: ir.Value,
    scales: ir.Value,
    zeros: ir.Value | None = None,
    groups: ir.Value | None = None,
    bias: ir.Value | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> ir.Value | None:
    """The weights as float32; what ONNX Runtime may round inside (accuracy_level) is left out."""
    packed, step, zero = constant_of(b), constant_of(scales), constant_of(zeros)
    if packed is None or step is None or (zeros is not None and zero is None) or groups is not None:
        return None
    if bits not in _LEVEL_BITS or weight_prepacked:
        return None
    blocks = -(-K // block_size)
    levels = _unpacked(packed.reshape(N, blocks, -1), bits)[..., :block_size]
    if zero is None:
        zero = np.full((N, blocks), 1 << (bits - 1))
    elif zero.dtype == np.uint8:
        zero = _unpacked(zero.reshape(N, -1), bits)[:, :blocks]
    weight = (levels - zero.reshape(N, blocks, 1).astype(np.float32)) * step.reshape(N, blocks, 1).astype(np.float32)
    y = op.MatMul(a, op.const(weight.reshape(N, -1)[:, :K].T.astype(np.float32), like=a))
    return y if bias is None else op.Add(y, bias)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """(…, bytes) uint8 -> (…, bytes * 8 / bits) float32, the lowest bits of a byte first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1).astype(np.float32)


def stored_in_levels(value: ir.Value | None) -> np.ndarray | None:
    """The float32 values of a constant that is stored as levels, or None."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    levels, scale, zero = (constant_of(v) for v in (*node.inputs, None)[:3])
    if levels is None or scale is None or (zero is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return None
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    centred = levels.astype(np.float32)
    if zero is not None:
        centred = centred - _spread(zero.astype(np.float32), levels.shape, axis, block)
    return centred * _spread(scale.astype(np.float32), levels.shape, axis, block)


def _spread(values: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """One value for all, one per entry along an axis, or one per block of entries along it, over the shape."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim == 1 and len(shape) > 1 and not block:
        return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    if not block:
        return values
    return np.repeat(values, block, axis)[tuple(map(slice, shape))]


def _real(op: Builder, q: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None = None) -> ir.Value:
    return op.DequantizeLinear(q, scale, zero)


def _levels(op: Builder, y: ir.Value, scale: ir.Value | None, zero: ir.Value | None = None) -> ir.Value | None:
    """None without a zero point, whose type is that of the levels."""
    return None if zero is None else op.QuantizeLinear(y, scale, zero)
