"""How the scores of a model read as answers, for whoever has to make it give another one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, shape_of
from auditor.graph.labelset import Array, append_against, encode
from auditor.graph.refusal import evading


@dataclass(frozen=True)
class Reading:
    """refused: the scores that are no better for an attack than the label's, see `graph.refusal`; multilabel: whether each
    score decides about a label of its own, and a label of an example is the set of them, see `graph.labelset`."""

    refused: tuple[int, ...] = ()
    multilabel: bool = False

    def classes(self, scores: int) -> int:
        """Among how many an attack chooses, of so many scores."""
        return scores + 1 if self.multilabel else scores - len(self.refused)

    def answers(self, xp: Any, scores: Array) -> Array:
        """(n, scores) -> (n,) int64 what they answer: the first largest, or the set of labels above 0."""
        return encode(xp, scores > 0) if self.multilabel else xp.argmax(scores, axis=1)

    def labels(self, y: np.ndarray, scores: int) -> np.ndarray:
        """(n,) int64 labels as an attack has them, see `attacks.shown`."""
        if self.multilabel:
            return np.zeros_like(y)
        return np.searchsorted([k for k in range(scores) if k not in self.refused], y)

    def append(
        self, op: Builder, logits: ir.Value, y: ir.Value, target: ir.Value
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Scores, labels and targets as losses take them. (batch, scores), (batch,), (batch,) -> the same of `classes`."""
        if self.multilabel:
            zeros = op.const(np.zeros(shape_of(y), np.int64))
            return append_against(op, logits, y), zeros, target
        return evading(op, logits, self.refused, y, target) if self.refused else (logits, y, target)


EXCLUSIVE = Reading()  # one class each, that of the largest score
