"""The features that a classifier's last linear layer reads, and other layers in that one's place."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.head import PASSING, SQUASHING
from auditor.graph.plain import ClassifierGraph

_FOLLOWED = {*PASSING, *SQUASHING, "Add", "Sub", "Mul", "Div", "Neg", "Concat"}


def features(graph: ClassifierGraph) -> ClassifierGraph | None:
    """The graph up to what its last Gemm or MatMul by constant weights reads, as `logits` (batch, features).

    None where something else than scales, shifts and a softmax stands between such a layer and the scores, or where it
    does not read one row of features per example.
    """
    found = _last_linear(graph)
    return None if found is None else _ending(graph, found, prod(shape_of(found)[1:]), lambda op, value: value)


def with_readouts(graph: ClassifierGraph, weights: np.ndarray, offsets: np.ndarray) -> ClassifierGraph:
    """The same graph with the features' products with `weights` (features, heads), plus `offsets` (heads,), as logits
    (batch, heads). The graph must have `features`."""
    found = _last_linear(graph)
    assert found is not None, "the graph has no last linear layer"

    def layer(op: Builder, value: ir.Value) -> ir.Value:
        return op.Add(op.MatMul(value, op.const(weights.astype(np.float32))), op.const(offsets.astype(np.float32)))

    return _ending(graph, found, weights.shape[1], layer)


def _last_linear(graph: ClassifierGraph) -> ir.Value | None:
    """What the last linear layer reads."""
    value = graph.logits
    while (node := value.producer()) is not None:
        live = [v for v in node.inputs if v is not None and constant_of(v) is None]
        if len(live) != 1:
            return None
        if node.op_type in ("Gemm", "MatMul"):
            read = live[0] is node.inputs[0] and not (node.op_type == "Gemm" and node.attributes.get_int("transA", 0))
            return live[0] if read and shape_of(live[0])[0] == graph.batch else None
        if node.op_type not in _FOLLOWED:
            return None
        value = live[0]
    return None


def _ending(
    graph: ClassifierGraph, at: ir.Value, width: int, layer: Callable[[Builder, ir.Value], ir.Value]
) -> ClassifierGraph:
    """A copy of the graph that ends in `layer` of the value `at`, each example's part of it as one row."""
    model = graph.model.clone()
    x = next(v for v in model.graph.inputs if v.name == graph.x.name)
    last = next((v for node in model.graph for v in node.outputs if v.name == at.name), x)
    op = Builder(model.graph)
    logits = layer(op, op.Reshape(last, op.ints([graph.batch, prod(shape_of(at)[1:])])))
    model.graph.outputs[:] = [logits]
    passes.RemoveUnusedNodesPass()(model)
    logits.name = "readout"
    return replace(graph, model=model, x=x, logits=logits, classes=width)
