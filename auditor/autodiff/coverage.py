"""Which nodes stand between the input and the scores without letting a gradient through, and why."""

from dataclasses import dataclass

import onnx_ir as ir

from auditor.autodiff import rules
from auditor.autodiff.compile import expand, without_rule
from auditor.autodiff.gradient import depends_on
from auditor.errors import AuditorError
from auditor.graph.plain import ClassifierGraph


@dataclass(frozen=True)
class Obstacle:
    """One node that a gradient cannot pass."""

    operator: str
    node: str
    why: str

    def __str__(self) -> str:
        return f"{self.operator} (node '{self.node}'): {self.why}"


def obstacles(graph: ClassifierGraph) -> list[Obstacle]:
    """Every node in the way, in graph order; empty when the gradient is covered."""
    try:
        expanded = expand(graph)
    except AuditorError as error:
        return [Obstacle("graph", "", str(error))]
    found = [Obstacle(_name(node), node.name or "", "has no gradient rule") for node in without_rule(expanded)]
    return found + [Obstacle(_name(node), node.name or "", rules.STOPS[node.op_type]) for node in _blocking(expanded)]


def _blocking(graph: ClassifierGraph) -> list[ir.Node]:
    """The stops that cut every path from the input to the scores; none when some path is open."""
    nodes = list(graph.model.graph)
    if graph.logits in depends_on(nodes, [graph.x]):
        return []
    reached = {graph.x}
    for node in nodes:
        if any(x in reached for x in node.inputs):
            reached.update(node.outputs)
    return [n for n in nodes if n.op_type in rules.STOPS and any(x in reached for x in n.inputs)]


def _name(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
