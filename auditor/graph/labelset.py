"""Models that decide about several labels at once, each by itself.

An example is right where every label's decision is (exact match, "subset accuracy"), and broken where any is not. A set of
labels is written as one number, the sum of 2^k over the labels k in it, so that it takes the place of a class wherever one is
kept or compared (Boutell et al. 2004, "Learning multi-label scene classification": the label powerset). Scores are given
less the threshold: above 0 a label is in the set.

Against the set of an example each score has a side: the largest of 0 and of the scores with the signs of the wrong sides is
0 exactly where every decision is right. So an attack has a classifier before it, of one class "as labelled" and one more for
each label; see `auditor.attacks.exact_match`.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.errors import ModelError, SpecError
from auditor.graph.build import Builder, shape_of
from auditor.graph.head import Head, Scores

Array = Any  # numpy.ndarray, or cupy.ndarray

MOST = 53  # labels: a set is a whole number that every reader of JSON holds


def check_multilabel(labels: int, scores: Scores, *, refuses: bool) -> None:
    """ModelError for a model whose labels cannot be audited together, SpecError for what cannot be asked of them."""
    if scores == "label":
        raise ModelError("the model gives one label out of several, so that --multilabel does not apply")
    if labels > MOST:
        raise ModelError(
            f"the model has {labels} labels, and at most {MOST} can be audited at once; audit one by itself with --label"
        )
    if refuses:
        raise SpecError("--abstain and --detector are for models of one answer, not for several labels at once")


def check_label(label: str, width: int, names: tuple[str, ...], scores: Scores, *, multilabel: bool) -> int:
    """The number of a label by its name or number. SpecError where the model does not have it, or all labels are asked for too,
    ModelError where it gives nothing but the one label that it decides for."""
    if multilabel:
        raise SpecError("--multilabel is for all labels at once, --label for one of them; give one of the two")
    if scores == "label":
        raise ModelError("the model gives one label out of several and no scores, so that --label does not apply")
    if label in names:
        return names.index(label)
    if label.isascii() and label.isdecimal() and int(label) < width:
        return int(label)
    known = f"0 to {width - 1}" + (f", or {', '.join(names[:8])}{', …' if len(names) > 8 else ''}" if names else "")
    raise SpecError(f"the model has no label '{label}'; its labels are {known}")


def usual_threshold(head: Head) -> float:
    """Above which a label is given where nothing else was said: half, of a probability."""
    if head.operator == "LogSoftmax":
        return float(np.log(0.5))
    return 0.5 if head.scores == "probabilities" else 0.0


def encode(xp: Any, present: Array) -> Array:
    """(n, labels) whether each label is in the set -> (n,) int64"""
    return xp.sum(present.astype(xp.int64) << xp.arange(present.shape[1], dtype=xp.int64)[None, :], axis=1)


def decode(xp: Any, sets: Array, labels: int) -> Array:
    """(n,) int64 -> (n, labels) bool, whether each label is in the set."""
    return (sets[:, None] >> xp.arange(labels, dtype=xp.int64)[None, :]) & 1 == 1


def members(labels: int) -> list[int]:
    """The labels in one set, in rising order."""
    return [k for k in range(labels.bit_length()) if labels >> k & 1]


def against(xp: Any, scores: Array, sets: Array) -> Array:
    """(n, labels) scores less the threshold -> (n, labels + 1): 0, then each label's, above 0 where its decision is wrong."""
    own = xp.zeros_like(scores[:, :1])
    return xp.concatenate([own, xp.where(decode(xp, sets, scores.shape[1]), -scores, scores)], axis=1)


def append_against(op: Builder, logits: ir.Value, sets: ir.Value) -> ir.Value:
    """`against` in a graph: (batch, labels), (batch,) int64 -> (batch, labels + 1)."""
    batch, labels = shape_of(logits)
    weights = op.const(np.left_shift(np.int64(1), np.arange(labels, dtype=np.int64))[None, :])
    two = op.const(np.int64(2))
    given = op.Equal(op.Mod(op.Div(op.Unsqueeze(sets, op.ints([1])), weights), two), op.const(np.int64(1)))
    sided = op.Where(given, op.Neg(logits), logits)
    return op.Concat(op.const(np.zeros((batch, 1), np.float32)), sided, axis=1)


def centre(threshold: float, head: Head) -> float | None:
    """What a label's score is compared with in front of the Sigmoid that makes it a probability; None where there is no
    Sigmoid, or where it cannot reach the threshold."""
    if head.squash != ("Sigmoid",) or not 0 < threshold < 1:
        return None
    return float(np.log(threshold / (1 - threshold)))
