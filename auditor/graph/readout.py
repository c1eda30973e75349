"""The features inside a classifier: what its last linear layer reads, with other layers in that one's place, and what a layer
in the middle gives."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.head import PASSING, SQUASHING
from auditor.graph.plain import ClassifierGraph
from auditor.graph.reading import EXCLUSIVE

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FOLLOWED = {*PASSING, *SQUASHING, "Add", "Sub", "Mul", "Div", "Neg", "Concat"}


def features(graph: ClassifierGraph) -> ClassifierGraph | None:
    """The graph up to what its last Gemm or MatMul by constant weights reads, as `logits` (batch, features).

    None where something else than scales, shifts and a softmax stands between such a layer and the scores, or where it
    does not read one row of features per example.
    """
    found = _last_linear(graph)
    return None if found is None else ending_at(graph, found)


def middle(graph: ClassifierGraph) -> ClassifierGraph:
    """The graph up to a layer with half of the layers of weights before it, as `logits` (batch, features).

    The layer is a value that every way from the input to the scores leads through; the last such value before the next
    layer, so that activations and pools are in it. The scores themselves where there is none between.
    """
    narrow = _narrows(graph)
    layers = narrow[-1][1]
    inside = [(abs(2 * before - layers), -place) for place, (_, before) in enumerate(narrow) if 0 < before < layers]
    return graph if not inside else ending_at(graph, narrow[-min(inside)[1]][0])


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


def _narrows(graph: ClassifierGraph) -> list[tuple[ir.Value, int]]:
    """The values that alone lead on to the scores, in graph order, the scores last, and how many layers of weights are
    before each; only those that hold a row of numbers per example."""
    nodes = list(graph.model.graph)
    needed, moving = {graph.logits}, {graph.x}
    for node in reversed(nodes):
        if any(y in needed for y in node.outputs):
            needed.update(v for v in node.inputs if v is not None)
    for node in nodes:
        if any(v in moving for v in node.inputs):
            moving.update(node.outputs)
    way = needed & moving
    users = {v: sum(any(y in way for y in user.outputs) for user, _ in v.uses()) for v in way}
    users[graph.logits] += 1
    found, open_, before = [], {graph.x}, 0
    for node in nodes:
        if not any(y in way for y in node.outputs):
            continue
        before += node.op_type in _LINEAR and any(constant_of(v) is not None for v in node.inputs)
        for value in (v for v in node.inputs if v in way):
            users[value] -= 1
            if not users[value]:
                open_.discard(value)
        open_.update(y for y in node.outputs if y in way)
        (narrow, *others) = open_
        if not others and _has_rows(graph, narrow):
            found.append((narrow, before))
    return found


def _has_rows(graph: ClassifierGraph, value: ir.Value) -> bool:
    """Whether the first axis is that of the examples. Of a sequence as long as the batch nobody can tell."""
    if value.shape is None or not value.shape.is_static():
        return False
    shape = shape_of(value)
    unclear = len(shape) == 3 and graph.batch > 1 and shape[1] == graph.batch
    return value.dtype == ir.DataType.FLOAT and len(shape) > 1 and shape[0] == graph.batch and not unclear


def ending_at(graph: ClassifierGraph, at: ir.Value) -> ClassifierGraph:
    """A copy of the graph that ends in the value `at`, each example's part of it as one row."""
    return _ending(graph, at, prod(shape_of(at)[1:]), lambda op, value: value)


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
    return replace(graph, model=model, x=x, logits=logits, classes=width, reading=EXCLUSIVE, band=None)
