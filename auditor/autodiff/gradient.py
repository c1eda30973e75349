"""Reverse mode on a graph: cotangents walk from the outputs back to the inputs asked for.

The walk knows nothing of operators; `rules/` does. It visits only nodes that lie on a path from a value in `wrt`
to a seeded output, asks the rule of each live input, sums a cotangent back to its primal's shape where the
operator broadcast it, and adds up cotangents that meet. The nodes are appended to the same graph, so that the
gradient graph is again an ordinary ONNX model.
"""

from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir

from auditor.autodiff import rules
from auditor.errors import NoGradient
from auditor.graph.build import Builder, shape_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def backward(op: Builder, seeds: Mapping[ir.Value, ir.Value], wrt: Sequence[ir.Value]) -> list[ir.Value | None]:
    """Append the reverse-mode nodes to `op.graph` and give the cotangent of each value in `wrt`.

    seeds: output -> its cotangent, of the same shape and type.
    Gives None for a value that no seeded output depends on differentiably.
    Raises NoGradient at the first live node without a rule.
    """
    primal = list(op.graph)
    live = depends_on(primal, wrt)
    cotangents: dict[ir.Value, ir.Value] = dict(seeds)
    for node in reversed(primal):
        if not any(y in cotangents and y in live for y in node.outputs):
            continue
        for index, x in enumerate(node.inputs):
            if x is not None and x in live:
                g = _cotangent(op, node, index, cotangents)
                if g is not None:
                    cotangents[x] = op.Add(cotangents[x], g) if x in cotangents else g
    return [cotangents.get(x) for x in wrt]


def depends_on(nodes: Sequence[ir.Node], wrt: Sequence[ir.Value]) -> set[ir.Value]:
    """The float values that depend on `wrt`, through nodes that a gradient may pass."""
    rules.load()
    live = set(wrt)
    for node in nodes:
        if node.op_type not in rules.STOPS and any(x in live for x in node.inputs):
            live.update(y for y in node.outputs if y.dtype in FLOATS)
    return live


def _cotangent(op: Builder, node: ir.Node, index: int, cotangents: Mapping[ir.Value, ir.Value]) -> ir.Value | None:
    rule = rules.rule_for(node.op_type, index) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise NoGradient(node.op_type, node.name or "", f"no gradient for input {index}")
    g: object = tuple(cotangents.get(y) for y in node.outputs)
    y: object = tuple(node.outputs)
    if not several_outputs(node.op_type):
        g, y = g[0], y[0]  # type: ignore[index]
    attributes = {a.name: a.value for a in node.attributes.values()}
    if (node.op_type, index) not in rules.RULES:
        attributes["index"] = index
    x = node.inputs[index]
    assert x is not None
    return unbroadcast(op, rule(op, g, y, *node.inputs, **attributes), x)


def several_outputs(operator: str) -> bool:
    """Whether the operator's schema allows more than one output."""
    schema = onnx.defs.get_schema(operator)
    return schema.max_output > 1


def unbroadcast(op: Builder, g: ir.Value | None, x: ir.Value) -> ir.Value | None:
    """Sum `g` over the axes along which `x` was broadcast, so that it has the shape of `x`."""
    if g is None:
        return None
    wanted, have = shape_of(x), shape_of(g)
    if wanted == have:
        return g
    lead = len(have) - len(wanted)
    axes = [*range(lead), *(lead + i for i, d in enumerate(wanted) if d == 1 and have[lead + i] != 1)]
    if lead < 0 or any(w not in (1, h) for w, h in zip(wanted, have[lead:], strict=True)):
        raise AssertionError(f"cotangent {have} does not fit '{x.name}' {wanted}")
    summed = op.ReduceSum(g, op.ints(axes), keepdims=1) if axes else g
    return op.Reshape(summed, op.ints(wanted)) if lead else summed
