"""One table of how operators outside the standard, and a few of its own, are taken apart into others of it, so that the
gradient rules need not know them. Those without an entry stay, and coverage names them."""

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import onnx_ir as ir

from auditor.graph.build import Builder

# (op, *inputs, **attributes) -> the one output in use, or a tuple of all, None where it gives none; or None to leave the node
Rewrite = Callable[..., Any]

FAMILIES = ("attention", "classical", "contrib", "quantised", "regions")
_REWRITES: dict[tuple[str, str, int | None], Rewrite] = {}  # domain, operator, which output


def rewrites(operator: str, domain: str = "com.microsoft", output: int | None = 0) -> Callable[[Rewrite], Rewrite]:
    """Register what stands for output `output` of an operator where that is the only one in use; None: for all of them."""

    def register(rewrite: Rewrite) -> Rewrite:
        _REWRITES[domain, operator, output] = rewrite
        return rewrite

    return register


@cache
def _load() -> None:
    """Import every family once, so that the table is full."""
    for family in FAMILIES:
        importlib.import_module(f"auditor.graph.{family}")


def rewritten() -> set[tuple[str, str]]:
    """Domain and operator of all that can be taken apart."""
    _load()
    return {(domain, operator) for domain, operator, _ in _REWRITES}


def take_apart(model: ir.Model) -> None:
    """Replace what can be replaced; every value must have its static shape."""
    _load()
    op = Builder(model.graph)
    replaced = []
    for node in list(model.graph):
        used = [i for i, y in enumerate(node.outputs) if y.uses() or y.is_graph_output()]
        values = _instead(op, node, used)
        if values and all(values.get(i) is not None for i in used):
            for i in used:
                ir.convenience.replace_all_uses_with(node.outputs[i], values[i], replace_graph_outputs=True)
            replaced.append(node)
    model.graph.remove(replaced, safe=True)
    model.graph.sort()


def _instead(op: Builder, node: ir.Node, used: Sequence[int]) -> dict[int, ir.Value]:
    """What stands for the outputs in use; empty where the node stays."""
    arguments = {a.name: a.value for a in node.attributes.values()}
    rewrite = _REWRITES.get((node.domain, node.op_type, None))
    if rewrite is not None:
        return dict(enumerate(rewrite(op, *node.inputs, **arguments) or ()))
    rewrite = _REWRITES.get((node.domain, node.op_type, used[0])) if len(used) == 1 else None
    value = None if rewrite is None else rewrite(op, *node.inputs, **arguments)
    return {} if value is None else {used[0]: value}
