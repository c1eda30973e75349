"""Appending nodes to a graph: `op.Mul(a, b)` adds a node and gives its output, typed and shaped.

The one place that imports onnxscript's GraphBuilder, and only when something is built.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir


class Builder:
    """Appends nodes to `graph`; attribute access is the operator's name, as the ONNX standard spells it.

    Python numbers and lists become constants of the other operand's type. `device` ("cpu" or "cuda") is there
    for rules whose fastest lowering differs per device. `prefix` keeps the names inside a body apart from those outside.
    """

    def __init__(self, graph: ir.Graph, *, device: str = "cpu", prefix: str = "") -> None:
        from onnxscript import GraphBuilder

        self.graph = graph
        self.device = device
        self.prefix = prefix
        builder = GraphBuilder(graph)
        if prefix:
            builder.push_module(prefix.rstrip("/"))
        self._op = builder.op
        self._constants = 0

    def __getattr__(self, operator: str) -> Any:
        return getattr(self._op, operator)

    def const(self, array: Any, *, like: ir.Value | None = None) -> ir.Value:
        """A constant tensor; `like` lends its element type."""
        array = np.asarray(array)
        if like is not None:
            array = array.astype(like.dtype.numpy())
        self._constants += 1
        while (name := f"const_{len(self.graph.initializers)}_{self._constants}") in self.graph.initializers:
            self._constants += 1  # left by an earlier builder, in a graph that has been cut since
        return self._op.initializer(ir.tensor(array, name=name), name=name)

    def add(self, node: ir.Node) -> None:
        """Append a node made elsewhere; the types and shapes of its outputs are inferred."""
        self._op.builder.add_node(node)

    def ints(self, values: Sequence[int]) -> ir.Value:
        """A constant int64 vector, as shape and axes inputs want it."""
        return self.const(np.asarray(values, dtype=np.int64))


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape; every shape is static once a model has been made plain."""
    if value.shape is None or not all(isinstance(d, int) for d in value.shape):
        raise ValueError(f"value '{value.name}' has no static shape: {value.shape}")
    return tuple(int(d) for d in value.shape)


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """The array behind a constant, or None when the value depends on the model's input."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()
