"""The last few nodes before the class scores: which kind of score leaves the graph, and where its logits are.

The trace walks backwards from an output through nodes that keep every value and its order, up to the first node
that turns logits into something else.
"""

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from auditor.graph.build import constant_of

Scores = Literal["logits", "probabilities", "label"]

# They keep the elements, and the order of the elements, of their first input.
PASSING = {"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Dropout"}
# Each keeps the order of one example's scores, so that what goes in decides as what comes out.
SQUASHING = {"Softmax", "LogSoftmax", "Sigmoid"}

# What may stand between the sum of exponentials and the division by it.
_GUARDS = {"Add", "Cast", "Clip", "Equal", "Expand", "Identity", "Max", "Reshape", "Unsqueeze", "Where"}


@dataclass(frozen=True)
class Head:
    """How class scores leave the graph.

    node: the Softmax, LogSoftmax, Sigmoid or ArgMax that was met, or the Div that a Softmax in single steps ends in; None
    when the output itself is logits.
    names: the class labels that a ZipMap writes as keys, in column order.
    """

    scores: Scores
    node: ir.Node | None = None
    names: tuple[int | str, ...] = ()
    passed: tuple[ir.Node, ...] = ()

    @property
    def squash(self) -> tuple[str, ...]:
        """What turns the logits into the scores, innermost first."""
        normalized = any(node.op_type == "Normalizer" for node in self.passed)
        return (*((self.operator,) if self.operator in SQUASHING else ()), *(("Normalizer",) if normalized else ()))

    @property
    def operator(self) -> str | None:
        """What it is, a Softmax in single steps by that name."""
        if self.node is None:
            return None
        return "Softmax" if self.node.op_type == "Div" else self.node.op_type

    @property
    def read(self) -> ir.Value:
        """What goes into the node: of those that squash, the logits."""
        assert self.node is not None
        steps = softmax_in_steps(self.node)
        value = self.node.inputs[0] if steps is None else steps[0]
        assert value is not None
        return value


def trace(value: ir.Value) -> Head:
    """Walk from an output back to what computes it."""
    passed: list[ir.Node] = []
    names: tuple[int | str, ...] = ()
    while (node := value.producer()) is not None:
        if node.op_type in SQUASHING and node.domain == "":
            return Head("logits" if node.op_type == "LogSoftmax" else "probabilities", node, names, tuple(passed))
        if softmax_in_steps(node) is not None:
            return Head("probabilities", node, names, tuple(passed))
        if node.op_type == "ArgMax":
            return Head("label", node, names, tuple(passed))
        if node.op_type == "ZipMap":
            names = _labels(node)
        elif not _passes(node):
            break
        passed.append(node)
        assert node.inputs[0] is not None
        value = node.inputs[0]
    gives_probabilities = node is not None and node.domain == "ai.onnx.ml" and _gives_probabilities(node)
    return Head("probabilities" if gives_probabilities else "logits", None, names, tuple(passed))


def softmax_in_steps(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """z and the sum, where the node is exp(z) over what is computed of the sum of exp(z) alone, as converters write it that
    guard against a sum of 0; else None."""
    if node.op_type != "Div" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    powers = node.inputs[0].producer()
    if powers is None or powers.op_type != "Exp" or powers.inputs[0] is None:
        return None
    total, stack = None, [node.inputs[1]]
    while stack:
        value = stack.pop()
        made = value.producer()
        if constant_of(value) is not None or (made is not None and made.op_type == "Constant"):
            continue
        if made is not None and made.op_type == "ReduceSum" and made.inputs[0] is node.inputs[0]:
            total = made.outputs[0]
        elif made is not None and made.op_type in _GUARDS:
            stack += [v for v in made.inputs if v is not None]
        else:
            return None
    return None if total is None else (powers.inputs[0], total)


def _passes(node: ir.Node) -> bool:
    return node.op_type in PASSING or _divides_by_sum(node) or _times_one(node)


def _times_one(node: ir.Node) -> bool:
    """What LightGBM's converter names an output by."""
    factor = constant_of(node.inputs[1]) if node.op_type == "Mul" else None
    return factor is not None and bool((factor == 1).all())


def _gives_probabilities(node: ir.Node) -> bool:
    """Whether an operator of ai.onnx.ml gives them; a forest's shares are some, as they are."""
    transformed = node.attributes.get_string("post_transform", "NONE") != "NONE"
    return transformed or node.op_type == "TreeEnsembleClassifier" or "prob_a" in node.attributes


def _divides_by_sum(node: ir.Node) -> bool:
    """A row of probabilities, as scikit-learn's one-against-rest gives, brought to the sum 1."""
    return node.op_type == "Normalizer" and node.attributes.get_string("norm") == "L1"


def _labels(node: ir.Node) -> tuple[int | str, ...]:
    for name in ("classlabels_int64s", "classlabels_strings"):
        if name in node.attributes:
            return tuple(node.attributes[name].value)
    return ()
