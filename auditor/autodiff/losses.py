"""Loss heads as graph: every loss an attack may ascend, chosen per row by an integer input.

The heads share one forward and one backward pass, so that examples with different losses and targets sit in one
batch, and one gradient session serves all of them: its memory for weights does not multiply with their number.
"""

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, shape_of
from auditor.spec import Loss

# Keeps DLR finite where the scores that it divides by coincide (Croce & Hein 2020 use the same constant).
_TINY = 1e-12


def available(classes: int) -> dict[Loss, Loss]:
    """Loss asked for -> loss computed: DLR needs three classes and its targeted form four; below, the differences
    of logits that they scale stand in for them."""
    chosen = {loss: loss for loss in Loss}
    if classes < 3:
        chosen[Loss.DLR] = Loss.MARGIN
    if classes < 4:
        chosen[Loss.TARGETED_DLR] = Loss.DIFFERENCE
    return chosen


def loss_heads(op: Builder, logits: ir.Value, y: ir.Value, target: ir.Value, choice: ir.Value) -> ir.Value:
    """Append every loss available for the class count and give (batch,) the one that `choice` names per row.

    logits: (batch, classes) float; y, target, choice: (batch,) int64.
    The losses are joined by Where, not by a product with a mask: an unchosen loss may be infinite.
    """
    classes = shape_of(logits)[1]
    scores = _Scores(op, logits, y, target)
    heads = {
        Loss.CROSS_ENTROPY: lambda: op.Neg(scores.pick(scores.log_softmax(), scores.own)),
        Loss.MARGIN: lambda: op.Sub(scores.best_other(), scores.label()),
        Loss.DLR: lambda: op.Div(op.Sub(scores.best_other(), scores.label()), scores.spread()),
        Loss.TARGETED_DLR: lambda: op.Div(op.Sub(scores.wanted(), scores.label()), scores.targeted_spread()),
        Loss.DIFFERENCE: lambda: op.Sub(scores.wanted(), scores.label()),
        Loss.TARGETED_CROSS_ENTROPY: lambda: scores.pick(scores.log_softmax(), scores.aim),
        Loss.LOGIT: scores.wanted,
        Loss.PROBABILITY_MARGIN: scores.probability_margin,
    }
    computed = set(available(classes).values())
    result: ir.Value | None = None
    for loss, head in heads.items():
        if loss in computed:
            value = head()
            chosen = op.Equal(choice, op.const(np.int64(loss)))
            result = value if result is None else op.Where(chosen, value, result)
    assert result is not None
    return result


def mean_cross_entropy(op: Builder, logits: ir.Value, y: ir.Value) -> ir.Value:
    """Append the mean over the batch of the cross-entropy, a scalar: what training descends."""
    scores = _Scores(op, logits, y, y)
    return op.Neg(op.ReduceMean(scores.pick(scores.log_softmax(), scores.own), keepdims=0))


class _Scores:
    """The pieces that losses are made of, each appended once and when first asked for."""

    def __init__(self, op: Builder, logits: ir.Value, y: ir.Value, target: ir.Value) -> None:
        self.op, self.logits = op, logits
        numbers = op.const(np.arange(shape_of(logits)[1], dtype=np.int64)[None, :])
        self.own = op.Equal(numbers, op.Unsqueeze(y, op.ints([1])))
        self.aim = op.Equal(numbers, op.Unsqueeze(target, op.ints([1])))
        self._made: dict[str, ir.Value] = {}

    def _once(self, name: str, make: object) -> ir.Value:
        if name not in self._made:
            self._made[name] = make()  # type: ignore[operator]
        return self._made[name]

    def pick(self, values: ir.Value, mask: ir.Value) -> ir.Value:
        op = self.op
        return op.ReduceSum(op.Where(mask, values, op.const(0.0, like=values)), op.ints([1]), keepdims=0)

    def label(self) -> ir.Value:
        return self._once("label", lambda: self.pick(self.logits, self.own))

    def wanted(self) -> ir.Value:
        return self._once("wanted", lambda: self.pick(self.logits, self.aim))

    def best_other(self) -> ir.Value:
        op = self.op
        lowest = op.const(-np.inf, like=self.logits)
        return self._once(
            "best_other",
            lambda: op.ReduceMax(op.Where(self.own, lowest, self.logits), op.ints([1]), keepdims=0),
        )

    def probability_margin(self) -> ir.Value:
        op = self.op
        share = op.Softmax(self.logits, axis=1)
        others = op.Where(self.own, op.const(-np.inf, like=share), share)
        return op.Sub(op.ReduceMax(others, op.ints([1]), keepdims=0), self.pick(share, self.own))

    def log_softmax(self) -> ir.Value:
        return self._once("log_softmax", lambda: self.op.LogSoftmax(self.logits, axis=1))

    def ranked(self, place: int) -> ir.Value:
        """The score at `place` (0 is the largest) of each row."""
        op = self.op
        count = min(4, shape_of(self.logits)[1])
        top = self._once("top", lambda: op.TopK(self.logits, op.ints([count]), _outputs=2)[0])
        return op.Squeeze(op.Slice(top, op.ints([place]), op.ints([place + 1]), op.ints([1])), op.ints([1]))

    def spread(self) -> ir.Value:
        op = self.op
        return op.Add(op.Sub(self.ranked(0), self.ranked(2)), op.const(_TINY, like=self.logits))

    def targeted_spread(self) -> ir.Value:
        op = self.op
        runners_up = op.Mul(op.Add(self.ranked(2), self.ranked(3)), op.const(0.5, like=self.logits))
        return op.Add(op.Sub(self.ranked(0), runners_up), op.const(_TINY, like=self.logits))
