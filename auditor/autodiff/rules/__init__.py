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
An operator in STOPS has derivative zero almost everywhere or no derivative at all; its entry says why.

Where the true slope leads nowhere, a surrogate may stand in for it in the backward pass alone (Bengio et al. 2013; as
an attack, "backward pass differentiable approximation", Athalye et al. 2018). A policy says which surrogates are taken:
"true" none; "straight-through" those of steps, which have no slope; "choices" also those of steps that choose between values
which have slopes of their own; "unsaturated" beside those of steps those of activations whose slope dies out. Under a surrogate, whole numbers and truth values carry cotangents as well, as float32 numbers.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

Rule = Callable[..., Any]
Policy = Literal["true", "straight-through", "choices", "unsaturated"]

RULES: dict[tuple[str, int | None], Rule] = {}
STOPS: dict[str, str] = {}
SURROGATES: dict[tuple[str, int | None], Rule] = {}
STEPS: dict[str, str] = {}  # operator: what stands in for its slope
SATURATING: dict[str, str] = {}
CONDITIONS: dict[tuple[str, int | None], Callable[[Any, Policy], bool]] = {}

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
    "sampling",
    "spectral",
    "surrogates",
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


def surrogate(
    instead: str,
    *operators: str,
    wrt: int | None = 0,
    where: Callable[[Any, Policy], bool] | None = None,
    table: dict[str, str] = STEPS,
) -> Callable[[Rule], Rule]:
    """Register what stands in for the slope of `operators`; `instead` says it in words, for the report. where: tells
    for which nodes it does, under which policy; the others have no gradient for that input."""

    def register(rule: Rule) -> Rule:
        for operator in operators:
            SURROGATES[operator, wrt] = rule
            if where is not None:
                CONDITIONS[operator, wrt] = where
            table[operator] = instead
        return rule

    return register


def instead_of(operator: str, policy: Policy) -> str | None:
    """What stands in for the operator's slope under the policy, in words; None where the slope is its own."""
    load()
    chosen = {"true": {}, "straight-through": STEPS, "choices": STEPS, "unsaturated": STEPS | SATURATING}
    return chosen[policy].get(operator)


def is_surrogate(operator: str, index: int) -> bool:
    """Whether a policy may replace the operator's slope in that input."""
    load()
    return (operator, index) in SURROGATES or (operator, None) in SURROGATES


def stopped(operator: str, policy: Policy = "true") -> bool:
    """Whether no gradient passes the operator."""
    load()
    return operator in STOPS and instead_of(operator, policy) is None


@cache
def load() -> None:
    """Import every family once, so that the table is full."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")


def rule_for(operator: str, index: int, policy: Policy = "true") -> Rule | None:
    """The rule for one input of an operator, or None."""
    tables = [RULES] if instead_of(operator, policy) is None else [SURROGATES, RULES]
    return next((t[operator, i] for t in tables for i in (index, None) if (operator, i) in t), None)


def operators() -> set[str]:
    """Every operator with at least one rule."""
    load()
    return {operator for operator, _ in RULES}
