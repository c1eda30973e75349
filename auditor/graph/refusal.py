"""Models that may refuse to answer: by a class of their own, or by a detector, a second output that rejects an input.

A rejection becomes one more score behind those of the classes, which is the largest exactly where the detector's output
lies above its threshold. So there is one question for everything that follows: which answer has the largest score?
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from auditor.errors import SpecError
from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.head import PASSING
from auditor.runtime import Tensor
from auditor.spec import Detector

_FLOATING = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)
_NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bool)", "tensor(int64)", "tensor(int32)")


def check_abstain(abstain: int, classes: int) -> None:
    """SpecError for a class that the model does not have, or without which it has nothing to tell apart."""
    if abstain >= classes:
        raise SpecError(f"there is no class {abstain} to abstain by; the model's classes are 0 to {classes - 1}")
    if classes < 3:
        raise SpecError(
            f"beside the class {abstain} to abstain by the model has one class; it needs two to tell apart"
        )


def check_detector(detector: Detector, outputs: Sequence[Tensor], scores: str | None) -> None:
    """SpecError where there is no such output, it holds the scores, or is not one number per example."""
    listed = ", ".join(f"'{o.name}'" for o in outputs)
    found = next((o for o in outputs if o.name == detector.output), None)
    if found is None:
        raise SpecError(
            f"the model has no output '{detector.output}' to reject by; it has {listed}. Where the name has a colon, write "
            "the threshold too: NAME:0.5"
        )
    if detector.output == scores or len(outputs) == 1:
        raise SpecError(f"the output '{detector.output}' holds the class scores; a detector is another output")
    written = " x ".join("?" if d is None else str(d) for d in found.shape)
    if found.type not in _NUMBERS or not found.shape or any(d != 1 for d in found.shape[1:]):
        raise SpecError(
            f"the output '{detector.output}', {written} of {found.type}, is no detector; one gives a number per example, "
            "of shape (N) or (N, 1), that is above a threshold where the input is rejected"
        )


def lifted(best: np.ndarray, above: np.ndarray) -> np.ndarray:
    """best + above, in float64, larger than `best` exactly where `above` is positive, whatever is rounded."""
    raised = np.maximum(best + above, np.nextafter(best, np.inf))
    return np.where(above > 0, raised, np.minimum(best + above, best))


def append_rejection(
    op: Builder, logits: ir.Value, detected: ir.Value, detector: Detector, weight: float = 1.0
) -> ir.Value:
    """(batch, classes) logits and the detector's raw output -> (batch, classes + 1).

    Where the detector ends in a function that saturates, such as a Sigmoid, what goes in is compared with what gives the
    threshold. What lies above counts `weight` times.
    """
    value, threshold = _unsaturated(detected, detector.threshold)
    if value.dtype != ir.DataType.FLOAT:
        value = op.Cast(value, to=ir.DataType.FLOAT)
    above = op.Sub(op.Reshape(value, op.ints((shape_of(logits)[0], 1))), op.const(np.float32(threshold)))
    if weight != 1:
        above = op.Mul(above, op.const(np.float32(weight)))
    return op.Concat(logits, op.Add(op.ReduceMax(logits, op.ints([1]), keepdims=1), above), axis=1)


def excess(logits: ir.Value) -> ir.Value:
    """What `append_rejection` added to the largest score of a class, (batch, 1), in scores that it gave."""
    value = logits
    for _ in ("Concat", "Add"):
        node = value.producer()
        assert node is not None, "the scores have no rejection among them"
        value = node.inputs[1]
    return value


# Of rising functions that are flat somewhere: what goes in where a number comes out, NaN where none does.
_INVERSES: dict[str, Callable[[float], float]] = {
    "Sigmoid": lambda p: float(np.log(p / (1 - p))),
    "Tanh": lambda t: float(np.arctanh(t)),
    "Softsign": lambda s: s / (1 - abs(s)) if abs(s) < 1 else np.nan,
    "Exp": lambda e: float(np.log(e)),
}
# The same of a rising operation with one number.
_UNDONE: dict[str, Callable[[float, float], float]] = {
    "Add": lambda t, number: t - number,
    "Sub": lambda t, number: t + number,
    "Mul": lambda t, number: t / number if number > 0 else np.nan,
    "Div": lambda t, number: t * number if number > 0 else np.nan,
}


def _unsaturated(value: ir.Value, threshold: float) -> tuple[ir.Value, float]:
    """What goes into the first of the saturating functions at the detector's end, and the threshold there."""
    found = value, threshold
    while (node := value.producer()) is not None and node.domain == "":
        live = [v for v in node.inputs if v is not None and constant_of(v) is None]
        if len(live) != 1 or live[0].dtype not in _FLOATING:
            break
        with np.errstate(invalid="ignore", divide="ignore"):
            threshold = _before(node, live[0], np.float64(threshold))
        if not np.isfinite(threshold):
            break
        value = live[0]
        found = (value, threshold) if node.op_type in _INVERSES else found
    return found


def _before(node: ir.Node, live: ir.Value, threshold: float) -> float:
    """What goes into the node where the threshold comes out; NaN where that is not known, or not of a rising node."""
    if node.op_type in _INVERSES:
        return _INVERSES[node.op_type](threshold)
    if node.op_type in _UNDONE:
        numbers = [array for v in node.inputs if v is not None and (array := constant_of(v)) is not None]
        swapped = live is not node.inputs[0] and node.op_type in ("Sub", "Div")
        if swapped or len(numbers) != 1 or numbers[0].size != 1:
            return np.nan
        return _UNDONE[node.op_type](threshold, float(numbers[0].flat[0]))
    return threshold if node.op_type in PASSING else np.nan


def evading(
    op: Builder, logits: ir.Value, refused: tuple[int, ...], y: ir.Value, target: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Scores, labels and targets as they are for an attack to which a refusal is no better than the label: see
    `auditor.attacks.evading`. (batch, answers), (batch,), (batch,) -> the same without the refused ones."""
    answers = shape_of(logits)[1]
    kept = [k for k in range(answers) if k not in refused]
    number = op.const(np.arange(answers, dtype=np.int64)[None, :])
    highest = op.ReduceMax(op.Gather(logits, op.ints(refused), axis=1), op.ints([1]), keepdims=1)
    own = op.Equal(number, op.Unsqueeze(y, op.ints([1])))
    raised = op.Where(own, op.Max(logits, highest), logits)
    rank = op.const(np.cumsum([k in kept for k in range(answers)]).clip(1) - 1)
    return op.Gather(raised, op.ints(kept), axis=1), op.Gather(rank, y), op.Gather(rank, target)
