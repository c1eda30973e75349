"""Write docs/operators.md: what becomes of a gradient at every operator.

    python -m tests.operators > docs/operators.md

From the rule tables themselves and from the names that the tests of gradients and graphs mention.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx

from auditor.autodiff import rules
from auditor.autodiff.control import CONTROL
from auditor.graph.flatten import MOST_NODES, MOST_STEPS
from auditor.graph.load import WORKING_OPSET
from auditor.graph.recurrent import RECURRENT
from auditor.graph.rewriting import rewritten
from auditor.graph.sequences import SEQUENCE_OPERATORS

HEAD = f"""# Operators

Written by `python -m tests.operators`. Every operator of the standard up to opset {WORKING_OPSET}, the newest that ONNX
Runtime runs, and what becomes of a gradient there. Models of older opsets are raised to it first; where an operator left
the standard on the way (Scatter, Upsample), its successor counts.

- **rule**: the cotangents of these inputs are written down, each checked against central differences.
- **body**: written out in the standard's own function body, whose operators have rules.
- **parts**: taken apart into other operators of the standard, which have rules.
- **Scan**: spelt out as a Scan over its cells; forward passes elsewhere run the operator itself.
- **reversed**: a Loop of at most {MOST_STEPS} steps and {MOST_NODES:,} nodes and an If on which no input decides are spelt
  out as a plain row of nodes; all others are differentiated as they stand. Where the input decides on a branch or on the
  number of steps, gradients are taken of one example at a time, since a whole batch has the decision in common.
- **resolved**: lists and optional values become the tensors that they hold, where lengths and positions are known.
- **none**: no gradient passes, and why. Where other paths lead past it, these are followed.
- **surrogate**: what may stand in for the slope, in attacks that say so ([defences.md](defences.md)).

A node without a gradient is named by `auditor inspect`, and the model attacked without gradients where no path is left.
"""

TESTS = ("autodiff", "graph")


def page() -> str:
    rules.load()
    lines = [HEAD, "| operator | gradient | surrogate | tested |", "|---|---|---|---|"]
    lines += [f"| {name} | {how} | {_surrogate(name)} | {_tested(name)} |" for name, how in _standard()]
    lines += [
        "",
        "## Of other domains",
        "",
        "Taken apart into operators of the standard, where their attributes allow it.",
        "",
    ]
    lines += ["| operator | tested |", "|---|---|"]
    lines += [f"| {domain}.{name} | {_tested(name)} |" for domain, name in sorted(rewritten()) if domain]
    return "\n".join(lines) + "\n"


def _standard() -> Iterator[tuple[str, str]]:
    """Each operator and what becomes of a gradient."""
    for name in sorted({s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}):
        try:
            schema = onnx.defs.get_schema(name, WORKING_OPSET)
        except onnx.defs.SchemaError:
            continue
        if not schema.deprecated:
            yield name, _gradient(schema)


def _gradient(schema: onnx.defs.OpSchema) -> str:
    name = schema.name
    ruled = [p.name for i, p in enumerate(schema.inputs) if rules.rule_for(name, i)]
    if name in RECURRENT:
        return "Scan"
    if name in CONTROL:
        return "reversed"
    if name in SEQUENCE_OPERATORS:
        return "resolved"
    if name in rules.operators():
        return f"rule: {', '.join(ruled)}"
    if name in rules.STOPS:
        return f"none: {rules.STOPS[name]}"
    if schema.has_function or schema.has_context_dependent_function:
        return "body"
    if ("", name) in rewritten():
        return "parts"
    return "surrogate alone" if rules.instead_of(name, "unsaturated") else "no rule"


def _surrogate(name: str) -> str:
    return (rules.instead_of(name, "unsaturated") or "").replace("|", "\\|")


@cache
def _sources() -> list[str]:
    here = Path(__file__).parent
    return [path.read_text() for folder in TESTS for path in (here / folder).glob("test_*.py")]


def _tested(name: str) -> str:
    """Whether a test names the operator: as a string, or in a model's textual form."""
    mention = re.compile(rf"""["'.\s]{name}(["'(<]|\s*\()""")
    return "yes" if any(mention.search(text) for text in _sources()) else ""


if __name__ == "__main__":
    print(page(), end="")
