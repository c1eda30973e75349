"""Reverse mode on a graph: cotangents walk from the outputs back to the inputs asked for.

The walk knows nothing of operators; `rules/` does. It visits only nodes that lie on a path from a value in `wrt`
to a seeded output, asks the rule of each live input, sums a cotangent back to its primal's shape where the
operator broadcast it, and adds up cotangents that meet. The nodes are appended to the same graph, so that the
gradient graph is again an ordinary ONNX model.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir

from auditor.autodiff import control, rules
from auditor.autodiff.control import CONTROL
from auditor.autodiff.rules import Policy
from auditor.errors import NoGradient
from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.quantised import stored_in_levels

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def backward(
    op: Builder, seeds: Mapping[ir.Value, ir.Value], wrt: Sequence[ir.Value], *, policy: Policy = "true"
) -> list[ir.Value | None]:
    """Append the reverse-mode nodes to `op.graph` and give the cotangent of each value in `wrt`.

    seeds: output -> its cotangent, of the same shape and type. policy: which surrogates stand in for true slopes.
    Gives None for a value that no seeded output depends on differentiably.
    Raises NoGradient at the first live node without a rule.
    """
    primal = list(op.graph)
    live = depends_on(primal, wrt, policy)
    cotangents: dict[ir.Value, ir.Value] = dict(seeds)
    for node in reversed(primal):
        if not any(y in cotangents and y in live for y in node.outputs):
            continue
        for x, g in _through(op, node, cotangents, live, policy):
            cotangents[x] = op.Add(cotangents[x], g) if x in cotangents else g
    return [cotangents.get(x) for x in wrt]


def _through(
    op: Builder, node: ir.Node, cotangents: Mapping[ir.Value, ir.Value], live: set[ir.Value], policy: Policy
) -> Iterable[tuple[ir.Value, ir.Value]]:
    """The cotangents that the node passes on, each with its primal."""
    if node.op_type in CONTROL:
        reach, walk = partial(depends_on, policy=policy), partial(backward, policy=policy)
        yield from control.cotangents(op, node, cotangents, live, reach, walk).items()
        return
    for index, x in enumerate(node.inputs):
        if x is not None and x in live and passes(node, index, policy):
            g = _cotangent(op, node, index, cotangents, policy)
            if g is not None:
                yield x, g


def depends_on(nodes: Sequence[ir.Node], wrt: Iterable[ir.Value], policy: Policy = "true") -> set[ir.Value]:
    """The values that depend on `wrt`, through nodes that a gradient may pass: floats, and under surrogates also whole
    numbers and truth values."""
    live = set(wrt)
    for node in nodes:
        if node.op_type in CONTROL:
            live |= control.live_outputs(node, live, partial(depends_on, policy=policy))
        elif any(x in live and passes(node, index, policy) for index, x in enumerate(node.inputs)):
            live.update(y for index, y in enumerate(node.outputs) if _carries(node, index, policy))
    return live


def passes(node: ir.Node, index: int, policy: Policy) -> bool:
    """Whether a gradient may pass input `index`: always where that is a float that nothing stops, so that a missing rule
    is found; where it is none, only by a rule."""
    x = node.inputs[index]
    if x is None or rules.stopped(node.op_type, policy):
        return False
    return x.dtype in FLOATS or rule_of(node, index, policy) is not None


def rule_of(node: ir.Node, index: int, policy: Policy) -> rules.Rule | None:
    """The rule for one input of a node, or None."""
    met = rules.CONDITIONS.get((node.op_type, index))
    if node.domain not in ("", "ai.onnx") or not (met is None or met(node, policy)):
        return None
    return rules.rule_for(node.op_type, index, policy)


def _carries(node: ir.Node, index: int, policy: Policy) -> bool:
    """Whether a node's output carries a cotangent. Of numbers that are no floats the first does, and what has its type by
    the standard: anything else that an operator gives beside its result are positions."""
    y = node.outputs[index]
    if y.dtype in FLOATS or policy == "true":
        return y.dtype in FLOATS
    if y.dtype is None or y.shape is None or not y.shape.is_static():
        return False
    return index == 0 or (node.domain in ("", "ai.onnx") and _typed_as_the_first(node.op_type, index))


def _typed_as_the_first(operator: str, index: int) -> bool:
    outputs = onnx.defs.get_schema(operator).outputs
    return _formal(outputs, index).type_str == _formal(outputs, 0).type_str


def _cotangent(
    op: Builder, node: ir.Node, index: int, cotangents: Mapping[ir.Value, ir.Value], policy: Policy
) -> ir.Value | None:
    rule = rule_of(node, index, policy)
    if rule is None:
        raise NoGradient(node.op_type, node.name or "", f"no gradient for input {index}")
    inputs, outputs = _as_numbers(op, node, index)
    g: object = tuple(cotangents.get(y) for y in node.outputs)
    y: object = outputs
    if not several_outputs(node.op_type):
        g, y = g[0], y[0]  # type: ignore[index]
    attributes = {a.name: a.value for a in node.attributes.values()}
    if rule in (rules.RULES.get((node.op_type, None)), rules.SURROGATES.get((node.op_type, None))):
        attributes["index"] = index
    x = node.inputs[index]
    assert x is not None
    return unbroadcast(op, rule(op, g, y, *inputs, **attributes), x)


def _as_numbers(op: Builder, node: ir.Node, index: int) -> tuple[tuple[ir.Value | None, ...], tuple[ir.Value, ...]]:
    """A node's inputs and outputs as the rule for input `index` sees them: where that is no float, whatever has its type
    by the standard comes as float32, so that rules need not know other arithmetic."""
    x = node.inputs[index]
    if x is None or x.dtype in FLOATS:
        return tuple(_as_stored(op, v) for v in node.inputs), tuple(node.outputs)
    schema = onnx.defs.get_schema(node.op_type)
    kind = _formal(schema.inputs, index).type_str

    def seen(value: ir.Value | None, formal: onnx.defs.OpSchema.FormalParameter) -> ir.Value | None:
        return value if value is None or formal.type_str != kind else number(op, value)

    inputs = tuple(seen(v, _formal(schema.inputs, i)) for i, v in enumerate(node.inputs))
    return inputs, tuple(seen(y, _formal(schema.outputs, i)) for i, y in enumerate(node.outputs))


def _as_stored(op: Builder, value: ir.Value | None) -> ir.Value | None:
    """Weights that are stored as levels as a constant of the rule's own: so a rule sees that they are constant, and the
    forward pass keeps its quantised form, which ONNX Runtime computes in whole numbers."""
    weights = stored_in_levels(value)
    return value if weights is None else op.const(weights)


def _formal(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], index: int
) -> onnx.defs.OpSchema.FormalParameter:
    """The last one of a variadic operator stands for all that follow."""
    return parameters[min(index, len(parameters) - 1)]


def number(op: Builder, value: ir.Value) -> ir.Value:
    """The same numbers as float32."""
    constant = constant_of(value)
    if constant is not None:
        return op.const(constant.astype(np.float32))
    return value if value.dtype == ir.DataType.FLOAT else op.Cast(value, to=ir.DataType.FLOAT)


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
