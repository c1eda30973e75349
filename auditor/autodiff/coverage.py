"""Which nodes stand between the input and the scores without letting a gradient through, and why."""

from dataclasses import dataclass

import onnx_ir as ir

from auditor.autodiff import rules
from auditor.autodiff.compile import expand, on_the_way, without_rule
from auditor.autodiff.gradient import FLOATS, depends_on
from auditor.autodiff.rules import Policy
from auditor.errors import AuditorError
from auditor.graph.bodies import bodies, captured
from auditor.graph.plain import ClassifierGraph


@dataclass(frozen=True)
class Obstacle:
    """One node that a gradient cannot pass."""

    operator: str
    node: str
    why: str

    def __str__(self) -> str:
        return f"{self.operator} (node '{self.node}'): {self.why}"


@dataclass(frozen=True)
class Substitute:
    """One node whose slope is not its own in the backward pass, and what stands in for it."""

    operator: str
    node: str
    instead: str

    def __str__(self) -> str:
        return f"{self.operator} (node '{self.node}'): {self.instead}"


def substitutes(graph: ClassifierGraph, policy: Policy) -> list[Substitute]:
    """Every node on the way whose slope the policy replaces, in graph order; none under "true"."""
    try:
        way = on_the_way(expand(graph, policy), policy)
    except AuditorError:
        return []
    nodes = dict.fromkeys(node for node, i in way if rules.is_surrogate(node.op_type, i) and not _is_exact(node))
    said = ((node, rules.instead_of(node.op_type, policy)) for node in nodes)
    return [Substitute(node.op_type, node.name or "", instead) for node, instead in said if instead is not None]


def _is_exact(node: ir.Node) -> bool:
    """A cast that rounds nothing: from truth values, or between floats."""
    x, y = node.inputs[0], node.outputs[0]
    return node.op_type == "Cast" and x is not None and (x.dtype not in FLOATS or y.dtype in FLOATS)


def obstacles(graph: ClassifierGraph, policy: Policy = "true") -> list[Obstacle]:
    """Every node in the way, in graph order; empty when the gradient is covered."""
    try:
        expanded = expand(graph, policy)
    except AuditorError as error:
        return [Obstacle("graph", "", str(error))]
    found = [
        Obstacle(_name(node), node.name or "", "has no gradient rule") for node in without_rule(expanded, policy)
    ]
    blocking = _blocking(expanded, policy)
    return found + [Obstacle(_name(node), node.name or "", rules.STOPS[node.op_type]) for node in blocking]


def _blocking(graph: ClassifierGraph, policy: Policy) -> list[ir.Node]:
    """The stops that cut every path from the input to the scores; none when some path is open."""
    nodes = list(graph.model.graph)
    if graph.logits in depends_on(nodes, [graph.x], policy):
        return []
    reached, found = {graph.x}, []
    for node in graph.model.graph.all_nodes():
        inputs = (*node.inputs, *captured(node))
        if any(x in reached for x in inputs):
            reached.update(node.outputs)
            reached.update(v for body in bodies(node) for v in body.inputs)
            found += [node] if rules.stopped(node.op_type, policy) else []
    return found


def _name(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
