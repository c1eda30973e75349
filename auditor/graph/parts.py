"""Parts of a plain graph: the nodes between two places, and the graph of them alone."""

from collections.abc import Iterable

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.plain import ClassifierGraph, serialise

MOVING = {
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Gather",
    "Slice",
    "Split",
    "Concat",
}
LINEAR = {"Add", "Sub", "Mul", "Div", "Cast", "Neg", "Sum", "Mean", "Gemm", "MatMul", "ReduceSum", "ReduceMean"}


def between(sources: Iterable[ir.Value], ends: Iterable[ir.Value | None], allowed: set[str]) -> list[ir.Node] | None:
    """The nodes on the ways back from `ends` to `sources`, in no order; None where another one than allowed is there."""
    found: dict[ir.Node, None] = {}
    reached, stack = set(sources), list(ends)
    while stack:
        value = stack.pop()
        if value is None or value in reached or constant_of(value) is not None:
            continue
        reached.add(value)
        node = value.producer()
        if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in allowed:
            return None
        found[node] = None
        stack += node.inputs
    return list(found)


def is_linear(node: ir.Node) -> bool:
    """Products are linear where all but one factor is constant, and what is divided by."""
    moving = [i for i, value in enumerate(node.inputs) if value is not None and constant_of(value) is None]
    if node.op_type in ("Mul", "MatMul"):
        return len(moving) == 1
    return moving == [0] if node.op_type in ("Div", "Gemm", "Gather") else True


def cut(graph: ClassifierGraph, sources: Iterable[ir.Value], ends: Iterable[ir.Value | None]) -> bytes:
    """The part of the graph from some values to others, as a model whose inputs and outputs bear their names."""
    model = graph.model.clone()
    known = {value.name: value for value in model.graph.inputs}
    known |= {y.name: y for node in model.graph for y in node.outputs}
    starts = []
    for source in sources:
        start = known[source.name]
        if start.producer() is not None:
            start = ir.Value(name=f"{source.name}/cut", shape=source.shape, type=ir.TensorType(ir.DataType.FLOAT))
            ir.convenience.replace_all_uses_with(known[source.name], start, replace_graph_outputs=True)
            known[source.name] = start
        starts.append(start)
    op = Builder(model.graph)
    for node in list(model.graph):
        if node.op_type == "Shape" and node.inputs[0] is not None:  # which reads nothing that moves
            shape = shape_of(node.inputs[0])[
                node.attributes.get_int("start", 0) : node.attributes.get_int("end", None)
            ]
            ir.convenience.replace_all_uses_with(node.outputs[0], op.ints(shape), replace_graph_outputs=True)
    model.graph.inputs[:] = starts
    model.graph.outputs[:] = [op.Identity(known[end.name]) for end in ends if end is not None]
    RemoveUnusedNodesPass()(model)
    return serialise(model)
