"""Graphs inside nodes: the branches of an If, the bodies of Loop and Scan."""

from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir

from auditor.graph.build import Builder, constant_of

# (op, carried, scanned) -> (carried, given): what one step makes of the state and of its slice of each sequence.
Step = Callable[[Builder, list[ir.Value], list[ir.Value]], tuple[list[ir.Value], list[ir.Value]]]


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that are attributes of the node."""
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def captured(node: ir.Node) -> list[ir.Value]:
    """The values outside that the node's bodies read, each once, in the order of their first use."""
    found: dict[ir.Value, None] = {}
    for body in bodies(node):
        inside = {*body.inputs, *body.initializers.values()}
        for inner in body:
            found.update(
                dict.fromkeys(v for v in (*inner.inputs, *captured(inner)) if v is not None and v not in inside)
            )
            inside.update(inner.outputs)
        found.update(dict.fromkeys(v for v in body.outputs if v not in inside))
    return list(found)


def nested(graph: ir.Graph) -> Iterator[ir.Graph]:
    """The graph and every one inside its nodes."""
    yield graph
    for node in graph:
        for body in bodies(node):
            yield from nested(body)


def make_local(body: ir.Graph) -> None:
    """Copy the constants that the body reads outside: shape inference does not look for them there."""
    inside = {*body.inputs, *body.initializers.values()}
    copies: dict[ir.Value, ir.Value] = {}
    for node in body:
        for index, value in enumerate(node.inputs):
            if value is None or value in inside or value.graph is body or constant_of(value) is None:
                continue
            if value not in copies:
                name = f"{body.name}/{value.name}"
                copies[value] = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
                body.register_initializer(copies[value])
            node.replace_input_with(index, copies[value])


def new_body(op: Builder, like: Sequence[ir.Value], name: str) -> tuple[Builder, list[ir.Value]]:
    """An empty body for a node of `op.graph`, with inputs of these types and shapes."""
    name = f"{op.prefix}{name}{op.graph.num_nodes()}/"
    inputs = [ir.Value(name=f"{name}{i}", type=v.type, shape=v.shape) for i, v in enumerate(like)]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports=dict(op.graph.opset_imports), name=name)
    return Builder(graph, device=op.device, prefix=name), inputs


def within(op: Builder, body: ir.Graph, prefix: str) -> Builder:
    """Appends to a body that is there already. prefix: of the names, not given before."""
    body.opset_imports.update(op.graph.opset_imports)
    return Builder(body, device=op.device, prefix=op.prefix + prefix)


def close_body(op: Builder, outputs: Sequence[ir.Value]) -> ir.Graph:
    """Set the outputs, each a value of the body's own and no other output: ONNX Runtime wants them so."""
    op.graph.outputs.extend(op.Identity(v) for v in outputs)
    return op.graph


def place(op: Builder, body: ir.Graph, inputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Append a copy of the body's nodes to `op.graph`, reading `inputs` in the place of its own, and give its outputs."""
    copy = body.clone(allow_outer_scope_values=True)
    outputs = list(copy.outputs)
    instead = dict(zip(copy.inputs, inputs, strict=True))
    for value in copy.initializers.values():
        array = constant_of(value)
        assert array is not None
        instead[value] = op.const(array)
    copy.outputs.clear()
    nodes = list(copy)
    copy.remove(nodes)
    for old, new in instead.items():
        ir.convenience.replace_all_uses_with(old, new)
    for node in nodes:
        for y in node.outputs:
            y.name = f"{op.prefix}{op.graph.num_nodes()}/{y.name}" if y.name else y.name
        op.add(node)
    return [instead.get(v, v) for v in outputs]


def scan(
    op: Builder, step: Step, carried: Sequence[ir.Value], scanned: Sequence[ir.Value], *, backwards: bool = False
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Append a Scan over the first axis of `scanned`; gives the last state and what the steps gave, stacked.

    backwards: from the last step to the first; what is given is stacked in the order of `scanned` all the same.
    """
    count = len(scanned)
    steps = scanned[0].shape
    assert steps is not None
    slices = [ir.Value(name="", type=v.type, shape=ir.Shape(v.shape[1:])) for v in scanned]
    inner, inputs = new_body(op, [*carried, *slices], "step")
    state, given = step(inner, inputs[: len(carried)], inputs[len(carried) :])
    body = close_body(inner, [*state, *given])
    order = {"scan_input_directions": [1] * count, "scan_output_directions": [1] * len(given)} if backwards else {}
    outputs = op.Scan(*carried, *scanned, body=body, num_scan_inputs=count, _outputs=len(body.outputs), **order)
    outputs = [outputs] if isinstance(outputs, ir.Value) else list(outputs)
    for out, own in zip(outputs, body.outputs, strict=True):
        out.type = own.type
        out.shape = own.shape
    for out, own in zip(outputs[len(state) :], given, strict=True):
        assert own.shape is not None
        out.shape = ir.Shape([steps[0], *own.shape])
    return outputs[: len(state)], outputs[len(state) :]
