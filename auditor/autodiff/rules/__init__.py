"""The rule table: how a cotangent passes each operator, one rule per (operator, input).

A rule is a function `rule(op, g, y, *inputs, **attributes)` that emits ONNX nodes through `op` and gives the
cotangent of one input:

- `g` is the cotangent of the output `y`. Where the operator's schema allows several outputs, `g` and `y` are
  tuples (None where an output is absent or carries no cotangent).
- `inputs` are all of the node's inputs, in order, None where an optional one is left out.
- attributes arrive under the standard's own names; the rule's signature holds the standard's defaults.
- a rule registered without `wrt` serves every input of a variadic operator and gets the position as `index`.

Rules never un-broadcast, accumulate or check whether a cotangent is needed: the walk does (`gradient.py`).
All shapes are static and the opset is the working one, so a rule may compute with shapes in Python.
An operator in STOPS has derivative zero almost everywhere or no derivative at all; `policy` says why.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

Rule = Callable[..., Any]

RULES: dict[tuple[str, int | None], Rule] = {}
STOPS: dict[str, str] = {}

FAMILIES = (
    "elementwise",
    "activations",
    "linear",
    "convolution",
    "pooling",
    "normalization",
    "reduction",
    "shape",
    "indexing",
    "resize",
)


def vjp(*operators: str, wrt: int | None = 0) -> Callable[[Rule], Rule]:
    """Register the rule for input `wrt` of `operators`; `wrt=None` serves every input of a variadic one."""

    def register(rule: Rule) -> Rule:
        for operator in operators:
            if (operator, wrt) in RULES:
                raise ValueError(f"two rules for input {wrt} of {operator}")
            RULES[operator, wrt] = rule
        return rule

    return register


def stops(why: str, *operators: str) -> None:
    """Declare that no gradient passes `operators`, and why."""
    STOPS.update(dict.fromkeys(operators, why))


@cache
def load() -> None:
    """Import every family once, so that the table is full."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")


def rule_for(operator: str, index: int) -> Rule | None:
    """The rule for one input of an operator, or None."""
    load()
    return RULES.get((operator, index)) or RULES.get((operator, None))


def operators() -> set[str]:
    """Every operator with at least one rule."""
    load()
    return {operator for operator, _ in RULES}
