"""Another batch size for a file whose batch is fixed.

Exporters that are not told otherwise write the batch of the example input (mostly 1) into Reshape targets and the
like. The axis that carries the batch is followed from the input through the frozen graph, and every constant on the
way that holds its size is rewritten. The rules are a good guess, not a proof: what comes out counts only when its
scores are shown to be the upload's.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from auditor.graph.build import constant_of, shape_of
from auditor.graph.freeze import reshaped, with_shapes

_SAME_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_RECURRENT = {"GRU": (2, 1), "LSTM": (2, 1, 1), "RNN": (2, 1)}
# Inputs that hold a size per axis of the output, by position.
_SIZES = {"Expand": 1, "Resize": 3}


def rebatch(core: ir.Model, name: str, batch: int) -> ir.Model:
    """A copy of the frozen model with input `name` of another batch size.

    Raises ModelError when the shapes no longer fit together.
    """
    model = core.clone()
    x = next(v for v in model.graph.inputs if v.name == name)
    fixed, *shape = shape_of(x)
    axes: dict[ir.Value, int] = {x: 0}
    for node in list(model.graph):
        live = [v for v in node.inputs if v in axes]
        if live:
            lead = max(live, key=lambda v: len(shape_of(v)))
            assert lead is not None
            for index, y in enumerate(node.outputs):
                axis = _followed(node, index, lead, axes[lead], fixed) if y.shape and y.shape.is_static() else -1
                if 0 <= axis < len(y.shape or ()):
                    axes[y] = axis
            _rewrite(model.graph, node, axes, fixed, batch)
    proto = ir.to_proto(model)
    reshaped(proto, name, (batch, *shape))
    return with_shapes(proto, name)


def _followed(node: ir.Node, index: int, x: ir.Value, axis: int, fixed: int) -> int:
    """The axis of output `index` that carries the batch, given that of input `x`."""
    before, after = shape_of(x), shape_of(node.outputs[index])
    if node.op_type in _SAME_ORDER:
        return _after_reshape(before, after, axis, fixed)
    if node.op_type == "Transpose":
        return list(node.attributes.get_ints("perm", range(len(before))[::-1])).index(axis)
    if node.op_type in _RECURRENT:
        return _RECURRENT[node.op_type][index]
    if node.op_type == "Gather":
        gathered = node.attributes.get_int("axis", 0) % len(before)
        return axis + (len(after) - len(before) if gathered < axis else 0)
    if len(after) < len(before) and node.op_type.startswith(("Reduce", "Arg")):
        return axis - sum(a < axis for a in _reduced(node, len(before)))
    return axis + len(after) - len(before)


def _reduced(node: ir.Node, rank: int) -> list[int]:
    if "axis" in node.attributes:
        return [node.attributes["axis"].as_int() % rank]
    axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return [] if axes is None else [int(a) % rank for a in axes]


def _after_reshape(before: Sequence[int], after: Sequence[int], axis: int, fixed: int) -> int:
    """Where the batch's factor, outermost in its axis, goes when the elements keep their order."""
    inner = prod(before[axis:]) // fixed
    possible = [j for j in range(len(after)) if prod(after[j + 1 :]) <= inner and inner * fixed <= prod(after[j:])]
    return axis if axis in possible or not possible else possible[0]


def _rewrite(graph: ir.Graph, node: ir.Node, axes: dict[ir.Value, int], fixed: int, batch: int) -> None:
    axis = axes.get(node.outputs[0])
    if axis is None:
        return
    if node.op_type == "Reshape":
        target = list(shape_of(node.outputs[0]))
        target[axis] = -1
        _replace(graph, node, 1, np.asarray(target, np.int64))
    elif node.op_type == "Flatten" and axis == 0 and node.attributes.get_int("axis", 1) == 0:
        node.attributes["axis"] = ir.AttrInt64("axis", 1)  # all into one row was right while there was one example
    elif node.op_type in _SIZES:
        position = _SIZES[node.op_type]
        sizes = constant_of(node.inputs[position]) if len(node.inputs) > position else None
        if sizes is not None and sizes.size == len(shape_of(node.outputs[0])):
            scaled = sizes.copy()
            scaled[axis] = sizes[axis] * batch // fixed
            _replace(graph, node, position, scaled)
    elif node.op_type == "Concat" or node.op_type in _RECURRENT:
        _widen(graph, node, 1 if node.op_type in _RECURRENT else axis, fixed, batch)


def _widen(graph: ir.Graph, node: ir.Node, axis: int, fixed: int, batch: int) -> None:
    """Repeat constants that have one row per example: a class token, an initial state."""
    first = 5 if node.op_type in _RECURRENT else 0
    for index, value in enumerate(node.inputs):
        array = constant_of(value)
        if index >= first and array is not None and array.ndim > axis and array.shape[axis] == fixed:
            _replace(graph, node, index, np.repeat(array, batch // fixed or 1, axis=axis))


def _replace(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray) -> None:
    name = f"rebatched/{len(graph.initializers)}"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    node.replace_input_with(index, value)
