"""Another batch size for a file whose batch is fixed.

Exporters that are not told otherwise write the batch of the example input (mostly 1) into Reshape targets and the
like. The axis that carries the batch is followed from the input through the frozen graph, and every constant on the
way that holds its size is rewritten. The rules are a good guess, not a proof: what comes out counts only when its
scores are shown to be the upload's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from auditor.graph.build import constant_of, shape_of
from auditor.graph.freeze import reshaped, with_shapes
from auditor.graph.quantised import stored_in_levels

_RECURRENT = {"GRU": (2, 1), "LSTM": (2, 1, 1), "RNN": (2, 1)}
_BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Where", "Min", "Max", "Sum", "Mean", "PRelu", "MatMul"}
# Inputs that hold a size per axis of the output, by position.
_SIZES = {"Expand": 1, "Resize": 3}


@dataclass(frozen=True)
class Place:
    """Where the batch is in a value: `axis` has outer * batch * inner entries, in this order of nesting."""

    axis: int
    outer: int = 1


def rebatch(core: ir.Model, name: str, batch: int, *, stays: bool = True) -> ir.Model:
    """A copy of the frozen model with input `name` of another batch size.

    stays: whether the batch is taken to stay on its axis where a reshape leaves several of its size, or to move.
    Raises ModelError when the shapes no longer fit together.
    """
    model = core.clone()
    x = next(v for v in model.graph.inputs if v.name == name)
    fixed, *shape = shape_of(x)
    places = {x: Place(0)}
    for node in list(model.graph):
        live = [v for v in node.inputs if v is not None and v in places]
        if live:
            lead = max(live, key=lambda v: len(shape_of(v)))
            for index, y in enumerate(node.outputs):
                place = (
                    _followed(node, index, lead, places[lead], fixed, stays)
                    if y.shape and y.shape.is_static()
                    else None
                )
                if place is not None and 0 <= place.axis < len(shape_of(y)):
                    places[y] = place
            placed = [places[y].axis for y in node.outputs if y in places]
            if placed:
                _rewrite(model.graph, node, placed[0], fixed, batch)
    proto = ir.to_proto(model)
    reshaped(proto, name, (batch, *shape))
    return with_shapes(proto, name)


def _followed(node: ir.Node, index: int, x: ir.Value, place: Place, fixed: int, stays: bool) -> Place | None:
    """The place of the batch in output `index`, given that in input `x`."""
    before, after = shape_of(x), shape_of(node.outputs[index])
    axis, rank = place.axis, len(before)
    if node.op_type in ("Reshape", "Flatten"):
        return _after_reshape(before, after, place, fixed, stays)
    if node.op_type == "Transpose":
        axis = list(node.attributes.get_ints("perm", range(rank)[::-1])).index(axis)
    elif node.op_type in _RECURRENT:
        axis = _RECURRENT[node.op_type][index]
    elif node.op_type == "Unsqueeze":
        new = _axes(node, len(after))
        axis = [a for a in range(len(after)) if a not in new][axis]
    elif node.op_type == "Gather":
        axis += len(after) - rank if node.attributes.get_int("axis", 0) % rank < axis else 0
    elif node.op_type == "Squeeze" or (len(after) < rank and node.op_type.startswith(("Reduce", "Arg"))):
        axis -= sum(a < axis for a in _axes(node, rank))
    else:
        axis += len(after) - rank
    return Place(axis, place.outer)


def _axes(node: ir.Node, rank: int) -> list[int]:
    if "axis" in node.attributes:
        return [node.attributes["axis"].as_int() % rank]
    axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return [] if axes is None else [int(a) % rank for a in axes]


def _after_reshape(
    before: Sequence[int], after: Sequence[int], place: Place, fixed: int, stays: bool
) -> Place | None:
    """Where the batch goes when the elements keep their order.

    Its step in memory leaves several axes possible when the batch is 1. An axis of its own is the likeliest (among
    several the same as before, if it stays), then the same axis as before; the last holds features.
    """
    step = prod(before[place.axis :]) // (place.outer * fixed)
    if not step:
        return None  # an earlier guess was wrong
    inside = [prod(after[j + 1 :]) for j in range(len(after))]
    possible = [j for j, n in enumerate(inside) if n and step % n == 0 and n * after[j] % (step * fixed) == 0]
    if not possible:
        return None
    last = len(after) - 1
    own = {j for j in possible if after[j] == fixed and inside[j] == step}
    axis = min(possible, key=lambda j: (j not in own, j == last, (j != place.axis) == (stays or j not in own)))
    return Place(axis, inside[axis] * after[axis] // (step * fixed))


def _rewrite(graph: ir.Graph, node: ir.Node, axis: int, fixed: int, batch: int) -> None:
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
    elif node.op_type == "Gather" and node.attributes.get_int("axis", 0) == axis:
        _gather_from_each(graph, node, fixed, batch)
    elif node.op_type in _RECURRENT:
        _widen(graph, node, range(5, len(node.inputs)), -2, fixed, batch)
    elif node.op_type == "Concat" or (node.op_type in _BROADCASTING and shape_of(node.outputs[0])[axis] > 1):
        from_end = axis - len(shape_of(node.outputs[0]))
        if node.op_type != "MatMul" or from_end < -2:
            _widen(graph, node, range(len(node.inputs)), from_end, fixed, batch)


def _widen(graph: ir.Graph, node: ir.Node, inputs: Sequence[int], axis: int, fixed: int, batch: int) -> None:
    """Repeat constants that have rows per example: a class token, an initial state, a mask per window.

    axis: counted from the end, negative.
    """
    for index in inputs:
        array = constant_of(node.inputs[index])
        array = stored_in_levels(node.inputs[index]) if array is None else array
        if array is not None and array.ndim >= -axis and (rows := array.shape[axis]) >= fixed and rows % fixed == 0:
            if rows == 1 and node.op_type in _BROADCASTING:
                continue
            _replace(graph, node, index, np.take(array, np.arange(rows // fixed * batch) % rows, axis))


def _gather_from_each(graph: ir.Graph, node: ir.Node, fixed: int, batch: int) -> None:
    """Positions among all elements of the batch, as strided views are written: the same in every example."""
    indices = constant_of(node.inputs[1])
    if fixed == 1 and indices is not None and indices.ndim and indices.shape[0] == 1:
        size = shape_of(node.inputs[0])[node.attributes.get_int("axis", 0)]
        starts = size * np.arange(batch).reshape(-1, *[1] * (indices.ndim - 1))
        _replace(graph, node, 1, indices % size + starts)


def _replace(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray) -> None:
    name = f"rebatched/{len(graph.initializers)}"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    node.replace_input_with(index, value)
