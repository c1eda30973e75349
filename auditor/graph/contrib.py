"""Operators outside the standard, taken apart into standard ones.

ONNX Runtime's optimiser and its transformer tools write fused operators into files. Here are those with a short exact
meaning; those of transformers are in `attention`, those of ai.onnx.ml in `classical`.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.rewriting import rewrites


@rewrites("Gelu")
def _gelu(op: Builder, x: ir.Value) -> ir.Value | None:
    return op.Gelu(x)


@rewrites("BiasGelu")
def _bias_gelu(op: Builder, x: ir.Value, bias: ir.Value) -> ir.Value | None:
    return op.Gelu(op.Add(x, bias))


@rewrites("FastGelu")
def _fast_gelu(op: Builder, x: ir.Value, bias: ir.Value | None = None) -> ir.Value | None:
    return op.Gelu(x if bias is None else op.Add(x, bias), approximate="tanh")


@rewrites("QuickGelu")
def _quick_gelu(op: Builder, x: ir.Value, *, alpha: float = 1.702) -> ir.Value | None:
    return op.Mul(x, op.Sigmoid(op.Mul(x, op.const(alpha, like=x))))


@rewrites("FusedMatMul")
def _fused_matmul(
    op: Builder,
    a: ir.Value,
    b: ir.Value,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> ir.Value | None:
    if transBatchA or transBatchB:
        a, b = (_rows_inside(op, x) if moved else x for x, moved in ((a, transBatchA), (b, transBatchB)))
    product = op.MatMul(_transposed(op, a) if transA else a, _transposed(op, b) if transB else b)
    return product if alpha == 1 else op.Mul(product, op.const(alpha, like=a))


@rewrites("FusedConv")
def _fused_conv(
    op: Builder,
    x: ir.Value,
    w: ir.Value,
    bias: ir.Value | None = None,
    z: ir.Value | None = None,
    *,
    activation: str = "",
    activation_params: tuple[float, ...] = (),
    **attributes: Any,
) -> ir.Value | None:
    y = op.Conv(x, w, bias, **attributes)
    return _activated(op, y if z is None else op.Add(y, z), activation, activation_params)


@rewrites("FusedGemm")
def _fused_gemm(
    op: Builder,
    a: ir.Value,
    b: ir.Value,
    c: ir.Value | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    **attributes: Any,
) -> ir.Value | None:
    attributes = {k: v for k, v in attributes.items() if not k.startswith("activation")}
    params = () if activation_alpha is None else (activation_alpha,)
    return _activated(op, op.Gemm(a, b, c, **attributes), activation, params)


@rewrites("SimplifiedLayerNormalization", domain="")
def _simplified_layer_normalization(
    op: Builder, x: ir.Value, scale: ir.Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> ir.Value | None:
    return op.RMSNormalization(x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)


@rewrites("OneHot", domain="")
def _one_hot_of_largest(
    op: Builder, indices: ir.Value, depth: ir.Value, values: ir.Value, *, axis: int = -1
) -> ir.Value | None:
    """OneHot of an ArgMax along the same axis is a Hardmax, which one input's slope can be put in the place of."""
    node, size = indices.producer(), constant_of(depth)
    while node is not None and node.op_type == "Cast" and node.inputs[0] is not None:
        node = node.inputs[0].producer()  # to other whole numbers: positions fit into any
    if node is None or node.op_type != "ArgMax" or node.attributes.get_int("select_last_index", 0) or size is None:
        return None
    x = node.inputs[0]
    assert x is not None
    along = node.attributes.get_int("axis", 0) % len(shape_of(x))
    rank = len(shape_of(indices)) + 1
    if node.attributes.get_int("keepdims", 1) or axis % rank != along or shape_of(x)[along] != size.item():
        return None
    off, on = (op.Gather(values, op.const(np.int64(position))) for position in (0, 1))
    chosen = op.Cast(op.Hardmax(x, axis=along), to=values.dtype)
    return op.Add(op.Mul(chosen, op.Sub(on, off)), off)


def _rows_inside(op: Builder, x: ir.Value) -> ir.Value:
    """(rows, *batch, columns) -> (*batch, rows, columns)."""
    first, *batch, last = range(len(shape_of(x)))
    return op.Transpose(x, perm=[*batch, first, last])


def _transposed(op: Builder, x: ir.Value) -> ir.Value:
    *batch, row, column = range(len(shape_of(x)))
    return op.Transpose(x, perm=[*batch, column, row])


def _activated(op: Builder, y: ir.Value, activation: str, params: tuple[float, ...]) -> ir.Value | None:
    if activation == "":
        return y
    if activation in ("Relu", "Sigmoid", "Tanh"):
        return getattr(op, activation)(y)
    if activation == "LeakyRelu":
        return op.LeakyRelu(y, alpha=params[0] if params else 0.01)
    if activation == "Clip" and len(params) == 2:
        return op.Clip(y, op.const(params[0], like=y), op.const(params[1], like=y))
    if activation == "HardSigmoid" and len(params) == 2:
        return op.HardSigmoid(y, alpha=params[0], beta=params[1])
    return None
