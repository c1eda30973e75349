"""The goal of an attack, in one place: a classifier as an attack sees it that has to reach one class.

Every attack of this package looks for another class than the label's. Shown the scores in this way, it finds that only
where it has reached its target, so that none of them needs a targeted form of its own: where a paper has one, it is
the same attack on these losses, descending for the target what the untargeted form ascends for the label.
"""

import numpy as np

from auditor.classifier import Array, Classifier, Evaluation
from auditor.spec import Loss

# What is computed is a loss of the target in the label's place, and an attack goes down it; of the losses that name two
# classes already, the one that the target alone has: its margin over every other class, and its cross-entropy.
_OF_THE_TARGET = {
    Loss.TARGETED_DLR: Loss.DLR,
    Loss.DIFFERENCE: Loss.MARGIN,
    Loss.TARGETED_CROSS_ENTROPY: Loss.CROSS_ENTROPY,
}
_UPHILL = (Loss.LOGIT,)  # the target's own score


class Targeted:
    """A classifier of n examples that is broken where it gives the class `target`, and only there.

    y, target: (n,) int64, different in every row that is active; every call must be about those n rows. The label's
    score is the largest beside the target's, the target's its own, and all others are the lowest: the margin is that
    of the target over every other class, and the range of scores stays the model's. So there are two classes for an
    attack that chooses among them. Losses are the target's whatever label and target a call names: the
    cross-entropy (Szegedy et al. 2014), the margin (Carlini & Wagner 2017, f_6), DLR, the logit (Zhao et al. 2021,
    "On success and simplicity: a second look at transferable targeted attacks").
    """

    classes = 2

    def __init__(self, classifier: Classifier, y: Array, target: Array) -> None:
        self._classifier, self._target = classifier, target
        xp = self.xp = classifier.xp
        self.shape, self.domain = classifier.shape, classifier.domain
        number = xp.arange(classifier.classes)[None, :]
        self._aim, self._own = number == target[:, None], number == y[:, None]
        self._computed = xp.asarray([_OF_THE_TARGET.get(loss, loss) for loss in Loss], dtype=np.int64)
        self._sign = xp.asarray([1 if loss in _UPHILL else -1 for loss in Loss], dtype=np.float32)

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self.seen(self._classifier.logits(x, active=active))

    def gradient(
        self,
        x: Array,
        y: Array,
        loss: Loss | Array,
        *,
        target: Array | None = None,
        active: Array | None = None,
    ) -> Evaluation:
        """See Classifier.gradient."""
        xp, n = self.xp, x.shape[0]
        asked = xp.broadcast_to(xp.asarray(loss), (n,))
        here = self._classifier.gradient(x, self._target, self._computed[asked], target=self._target, active=active)
        sign = self._sign[asked]
        g = here.g * sign.reshape((-1,) + (1,) * (here.g.ndim - 1))
        return Evaluation(self.seen(here.logits), here.loss * sign, g)

    def seen(self, logits: Array) -> Array:
        """The model's scores at the n rows as an attack is shown them. (n, classes) -> (n, classes)"""
        xp = self.xp
        best_other = xp.max(xp.where(self._aim, -xp.inf, logits), axis=1)[:, None]
        lowest = xp.min(logits, axis=1)[:, None]
        return xp.where(self._aim, logits, xp.where(self._own, best_other, lowest)).astype(xp.float32)
