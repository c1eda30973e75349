"""Control flow and lists whose course is known, as a plain row of nodes.

Exporters write an If that asks for a rank, a Loop over the steps of a sequence, a list of tensors: once the shapes are
static there is nothing left to decide. What depends on the input's values stays, and is differentiated as it is.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from auditor import runtime
from auditor.graph.bodies import bodies, captured, close_body, make_local, nested, place, within
from auditor.graph.build import Builder, constant_of
from auditor.graph.load import WORKING_IR_VERSION, nodes_of
from auditor.graph.scans import straighten
from auditor.graph.sequences import SEQUENCE_OPERATORS, resolve

ROUNDS = 8  # of unrolling and folding: the length of a list may be how often the next Loop runs
MOST_STEPS = 256
MOST_NODES = 4096


def flatten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, folded, without each If, Loop, list and optional value whose course no input decides."""
    for number in range(ROUNDS):
        if not {"If", "Loop", "Scan", *SEQUENCE_OPERATORS} & {node.op_type for node in nodes_of(model.graph)}:
            break
        model = onnx.inliner.inline_selected_functions(model, [("", "SequenceMap")], inline_schema_functions=True)
        inferred = ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))
        changed = _flattened(Builder(inferred.graph, prefix=f"flat{number}/"))
        model = ir.to_proto(inferred)
        if not changed:
            break
        model = onnx.load_from_string(runtime.fold(model.SerializeToString()))
    return model


def keep_loop_shapes(model: ir.Model) -> bool:
    """Give states of Loops whose shapes are not known those that they start with; whether there were any. A state that
    changes its shape is refused when the Loop is run."""
    given = False
    for node in (node for graph in nested(model.graph) for node in graph if node.op_type == "Loop"):
        (body,) = bodies(node)
        for own, start in zip(body.inputs[2:], node.inputs[2:], strict=True):
            if own.shape is None and start is not None and start.shape is not None:
                own.shape, given = start.shape, True
    return given


def decides_for_all(model: ir.Model) -> bool:
    """Whether the input decides on a branch or on the number of steps: once, for all rows of a batch."""
    op = Builder(model.graph)
    nodes = [node for graph in nested(model.graph) for node in graph]
    loops = [node for node in nodes if node.op_type == "Loop"]
    return any(n.op_type == "If" for n in nodes) or any(_number_of_steps(op, n, *bodies(n)) is None for n in loops)


def _flattened(op: Builder) -> bool:
    """Whether anything at the top could be replaced. What stays is brought into the form that the gradient expects."""
    replaced = []
    for node in list(op.graph):
        if node.op_type not in ("If", "Loop"):
            continue
        values = _branch(op, node) if node.op_type == "If" else _unrolled(op, node)
        if values is not None:
            ir.convenience.replace_all_uses_with(node.outputs, values, replace_graph_outputs=True)
            replaced.append(node)
    op.graph.remove(replaced, safe=True)
    op.graph.sort()
    resolved = resolve(op)
    for number, graph in enumerate(list(nested(op.graph))):
        inner = op if graph is op.graph else within(op, graph, f"{number}/")
        for node in list(graph):
            for body in bodies(node):
                make_local(body)
            if node.op_type == "Scan":
                straighten(inner, node)
        graph.sort()
    return bool(replaced) or resolved


def _branch(op: Builder, node: ir.Node) -> list[ir.Value] | None:
    condition = constant_of(node.inputs[0])
    if condition is None:
        return None
    return place(op, node.attributes["then_branch" if condition.item() else "else_branch"].as_graph(), [])


def _unrolled(op: Builder, node: ir.Node) -> list[ir.Value] | None:
    """Step after step, if their number is known and small."""
    (body,) = bodies(node)
    steps = _number_of_steps(op, node, body)
    if not steps or steps > MOST_STEPS or steps * len(body) > MOST_NODES:
        return None
    for value in list(body.initializers.values()):
        ir.convenience.replace_all_uses_with(value, op.const(constant_of(value)))  # one copy for all steps
    body.initializers.clear()
    state, rows = [v for v in node.inputs[2:] if v is not None], []
    for i in range(steps):
        _, *values = place(op, body, [op.const(np.int64(i)), op.const(np.bool_(True)), *state])
        state, row = values[: len(state)], values[len(state) :]
        rows.append([op.Unsqueeze(v, op.ints([0])) for v in row])
    return [*state, *(op.Concat(*column, axis=0) for column in zip(*rows, strict=True))]


def _number_of_steps(op: Builder, node: ir.Node, body: ir.Graph) -> int | None:
    """How often a Loop runs, by running what decides on it alone; None where that depends on the input.

    At most one more than can be unrolled.
    """
    kept: list[int] = []  # the states that the condition reads, directly or through other states
    while True:
        reads = _sources(body, [body.outputs[0], *(body.outputs[1 + i] for i in kept)])
        grown = [i for i, x in enumerate(body.inputs[2:]) if x in reads and i not in kept]
        if not grown:
            break
        kept += grown
    starts = [*node.inputs[:2], *(node.inputs[2 + i] for i in kept)]
    outside = [v for v in reads if v.graph is not body]
    if any(v is not None and constant_of(v) is None for v in (*starts, *outside)):
        return None
    count, going, *states = (v if v is None else constant_of(v) for v in starts)
    most = MOST_STEPS + 1 if count is None else min(MOST_STEPS + 1, int(count.item()))
    first = [np.array(most), np.array(True) if going is None else going, *states]
    return _run_alone(op, body, kept, [a for a in first if a is not None])


def _sources(body: ir.Graph, values: Sequence[ir.Value]) -> set[ir.Value]:
    """What the values are computed from: inputs of the body, and values outside."""
    found: set[ir.Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value not in found and node is not None and value.graph is body:
            waiting += [v for v in (*node.inputs, *captured(node)) if v is not None]
        found.add(value)
    return {v for v in found if v.graph is not body or (v.producer() is None and v.const_value is None)}


def _run_alone(op: Builder, body: ir.Graph, kept: Sequence[int], first: Sequence[np.ndarray]) -> int:
    """The number of steps of a Loop over these states of the body and nothing else. first: count, condition, states."""
    copy = body.clone(allow_outer_scope_values=True)
    ends = [copy.outputs[0], *(copy.outputs[1 + i] for i in kept), copy.inputs[0]]
    copy.outputs.clear()
    for node in reversed(list(copy)):
        if not any(y.uses() or y in ends for y in node.outputs):
            copy.remove(node, safe=True)
    copy.inputs[:] = [*copy.inputs[:2], *(copy.inputs[2 + i] for i in kept)]
    make_local(copy)
    graph = ir.Graph([], [], nodes=[], opset_imports=dict(op.graph.opset_imports), name="count")
    outer = Builder(graph)
    close_body(within(outer, copy, "count/"), ends)
    outputs = outer.Loop(*(outer.const(a) for a in first), body=copy, _outputs=len(kept) + 1)
    graph.outputs.append(outputs if isinstance(outputs, ir.Value) else outputs[-1])
    model = ir.to_proto(ir.Model(graph, ir_version=WORKING_IR_VERSION))
    return len(runtime.evaluate(model.SerializeToString(), {})[0])
