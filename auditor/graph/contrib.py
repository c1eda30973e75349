"""ONNX Runtime's own fused operators, taken apart into standard ones.

Its optimiser and its transformer tools write them into files. Those with a short exact meaning are rewritten, so that
the gradient rules need not know them; the others stay, and coverage names them.
"""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from auditor.graph.build import Builder, shape_of

Rewrite = Callable[..., Any]  # (op, *inputs, **attributes) -> the first output, or None to leave the node

_REWRITES: dict[tuple[str, str], Rewrite] = {}


def take_apart(model: ir.Model) -> None:
    """Replace what can be replaced; every value must have its static shape."""
    op = Builder(model.graph)
    replaced = []
    for node in list(model.graph):
        rewrite = _REWRITES.get((node.domain, node.op_type))
        used = [y for y in node.outputs if y.uses() or y.is_graph_output()]
        if rewrite is None or used != [node.outputs[0]]:
            continue
        value = rewrite(op, *node.inputs, **{a.name: a.value for a in node.attributes.values()})
        if value is not None:
            ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
            replaced.append(node)
    model.graph.remove(replaced, safe=True)
    model.graph.sort()


def _rewrites(operator: str, domain: str = "com.microsoft") -> Callable[[Rewrite], Rewrite]:
    def register(rewrite: Rewrite) -> Rewrite:
        _REWRITES[domain, operator] = rewrite
        return rewrite

    return register


@_rewrites("Gelu")
def _gelu(op: Builder, x: ir.Value) -> ir.Value | None:
    return op.Gelu(x)


@_rewrites("BiasGelu")
def _bias_gelu(op: Builder, x: ir.Value, bias: ir.Value) -> ir.Value | None:
    return op.Gelu(op.Add(x, bias))


@_rewrites("FastGelu")
def _fast_gelu(op: Builder, x: ir.Value, bias: ir.Value | None = None) -> ir.Value | None:
    return op.Gelu(x if bias is None else op.Add(x, bias), approximate="tanh")


@_rewrites("QuickGelu")
def _quick_gelu(op: Builder, x: ir.Value, *, alpha: float = 1.702) -> ir.Value | None:
    return op.Mul(x, op.Sigmoid(op.Mul(x, op.const(alpha, like=x))))


@_rewrites("FusedMatMul")
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
        return None
    product = op.MatMul(_transposed(op, a) if transA else a, _transposed(op, b) if transB else b)
    return product if alpha == 1 else op.Mul(product, op.const(alpha, like=a))


@_rewrites("FusedConv")
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


@_rewrites("FusedGemm")
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


@_rewrites("SkipLayerNormalization")
def _skip_layer_normalization(
    op: Builder,
    x: ir.Value,
    skip: ir.Value,
    gamma: ir.Value,
    beta: ir.Value | None = None,
    bias: ir.Value | None = None,
    *,
    epsilon: float = 1e-12,
) -> ir.Value | None:
    total = op.Add(x, skip)
    total = total if bias is None else op.Add(total, bias)
    return op.LayerNormalization(total, gamma, beta, axis=-1, epsilon=epsilon)


@_rewrites("SimplifiedLayerNormalization", domain="")
def _simplified_layer_normalization(
    op: Builder, x: ir.Value, scale: ir.Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> ir.Value | None:
    return op.RMSNormalization(x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)


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
