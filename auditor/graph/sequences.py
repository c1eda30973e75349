"""Lists and optional values whose lengths and positions are known, resolved into the tensors that they hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of

_LISTS: dict[str, Callable[..., list[ir.Value] | None]] = {}
_READERS: dict[str, Callable[..., ir.Value | None]] = {}


def resolve(op: Builder) -> bool:
    """Replace what can be replaced at the top of `op.graph`, in order; whether anything was."""
    held: dict[ir.Value, list[ir.Value]] = {}
    done: list[ir.Node] = []
    for node in list(op.graph):
        arguments = [held.get(v, v) for v in node.inputs if v is not None]
        attributes = {a.name: a.value for a in node.attributes.values()}
        if node.op_type == "Identity" and node.inputs[0] in held:
            held[node.outputs[0]] = held[node.inputs[0]]
        elif node.op_type in _LISTS:
            made = _LISTS[node.op_type](op, *arguments, **attributes)
            if made is not None:
                held[node.outputs[0]] = made
        elif node.op_type in _READERS:
            value = _READERS[node.op_type](op, *arguments, **attributes)
            if value is None:
                continue
            ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
        else:
            continue
        done.append(node)
    removed = _remove_unread(op.graph, done)
    op.graph.sort()
    return removed


def _remove_unread(graph: ir.Graph, nodes: list[ir.Node]) -> bool:
    """Whether there were any. A list that something else reads as well stays."""
    removed = False
    for node in reversed(nodes):
        if not any(y.uses() or y.is_graph_output() for y in node.outputs):
            graph.remove(node, safe=True)
            removed = True
    return removed


def _makes(operator: str) -> Callable[[Any], Any]:
    return lambda function: _LISTS.setdefault(operator, function)


def _reads(operator: str) -> Callable[[Any], Any]:
    return lambda function: _READERS.setdefault(operator, function)


@_makes("SequenceConstruct")
def _construct(op: Builder, *values: ir.Value) -> list[ir.Value] | None:
    return list(values)


@_makes("SequenceEmpty")
def _empty(op: Builder, *, dtype: int = 1) -> list[ir.Value] | None:
    return []


@_makes("SequenceInsert")
def _insert(op: Builder, items: Any, value: ir.Value, position: ir.Value | None = None) -> list[ir.Value] | None:
    at = None if not isinstance(items, list) else _position(position, len(items), len(items))
    return None if at is None else [*items[:at], value, *items[at:]]


@_makes("SequenceErase")
def _erase(op: Builder, items: Any, position: ir.Value | None = None) -> list[ir.Value] | None:
    at = None if not isinstance(items, list) else _position(position, len(items), len(items) - 1)
    return None if at is None else [*items[:at], *items[at + 1 :]]


@_makes("SplitToSequence")
def _split(
    op: Builder, x: ir.Value, split: ir.Value | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[ir.Value] | None:
    size = shape_of(x)[axis]
    lengths = np.ones(size, np.int64) if split is None else constant_of(split)
    if lengths is None:
        return None
    if lengths.ndim == 0:
        lengths = np.diff([*range(0, size, int(lengths)), size])
    parts = op.Split(x, op.ints(lengths.tolist()), axis=axis, _outputs=len(lengths)) if len(lengths) > 1 else [x]
    return [op.Squeeze(p, op.ints([axis])) for p in parts] if split is None and not keepdims else list(parts)


@_makes("Optional")
def _optional(op: Builder, value: Any = None, *, type: Any = None) -> list[ir.Value] | None:
    """None is the empty list; a list inside is left alone."""
    return [] if value is None else None if isinstance(value, list) else [value]


@_reads("SequenceAt")
def _at(op: Builder, items: Any, position: ir.Value) -> ir.Value | None:
    at = None if not isinstance(items, list) else _position(position, len(items), len(items) - 1)
    return None if at is None else items[at]


@_reads("SequenceLength")
def _length(op: Builder, items: Any) -> ir.Value | None:
    return op.const(np.int64(len(items))) if isinstance(items, list) else None


@_reads("ConcatFromSequence")
def _concat(op: Builder, items: Any, *, axis: int, new_axis: int = 0) -> ir.Value | None:
    if not isinstance(items, list) or not items:
        return None
    return op.Concat(*(op.Unsqueeze(v, op.ints([axis])) for v in items) if new_axis else items, axis=axis)


@_reads("OptionalHasElement")
def _has_element(op: Builder, value: Any = None) -> ir.Value | None:
    held = value if isinstance(value, list) or value is None else _required(value)
    return None if held is None and value is not None else op.const(np.bool_(bool(held)))


@_reads("OptionalGetElement")
def _element(op: Builder, value: Any) -> ir.Value | None:
    held = value if isinstance(value, list) else _required(value)
    return held[0] if held else None


def _required(value: ir.Value) -> list[ir.Value] | None:
    """A tensor, which is there in any case; None for an optional value that is not known."""
    return [value] if isinstance(value.type, ir.TensorType) else None


SEQUENCE_OPERATORS = (*_LISTS, *_READERS, "SequenceMap")


def _position(value: ir.Value | None, length: int, default: int) -> int | None:
    """A constant position, counted from the front; the default where it is left out."""
    if value is None:
        return default
    array = constant_of(value)
    return None if array is None else int(array.item()) % length if array.item() < 0 else int(array.item())
