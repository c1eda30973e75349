"""One table of how operators outside the standard are taken apart into standard ones, so that the gradient rules need not
know them. Those without an entry stay, and coverage names them."""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import onnx_ir as ir

from auditor.graph.build import Builder

Rewrite = Callable[..., Any]  # (op, *inputs, **attributes) -> the one output in use, or None to leave the node

FAMILIES = ("classical", "contrib", "quantised")
_REWRITES: dict[tuple[str, str, int], Rewrite] = {}  # domain, operator, which output


def rewrites(operator: str, domain: str = "com.microsoft", output: int = 0) -> Callable[[Rewrite], Rewrite]:
    """Register what stands for output `output` of an operator where that is the only one in use."""

    def register(rewrite: Rewrite) -> Rewrite:
        _REWRITES[domain, operator, output] = rewrite
        return rewrite

    return register


@cache
def _load() -> None:
    """Import every family once, so that the table is full."""
    for family in FAMILIES:
        importlib.import_module(f"auditor.graph.{family}")


def take_apart(model: ir.Model) -> None:
    """Replace what can be replaced; every value must have its static shape."""
    _load()
    op = Builder(model.graph)
    replaced = []
    for node in list(model.graph):
        used = [i for i, y in enumerate(node.outputs) if y.uses() or y.is_graph_output()]
        rewrite = _REWRITES.get((node.domain, node.op_type, used[0])) if len(used) == 1 else None
        if rewrite is None:
            continue
        value = rewrite(op, *node.inputs, **{a.name: a.value for a in node.attributes.values()})
        if value is not None:
            ir.convenience.replace_all_uses_with(node.outputs[used[0]], value, replace_graph_outputs=True)
            replaced.append(node)
    model.graph.remove(replaced, safe=True)
    model.graph.sort()
