"""A model that may refuse, as an attack sees it that has to evade the refusal too.

What refuses is as little broken as what is right. So the label's score is the largest of its own and those that stand for
a refusal, which are no classes here: a point is broken where another class beats all of them, and only there. The losses
are those of these scores, and push away from the label and from the refusal at once; between the two they need no weight
that would have to be tuned (Bryniarski et al. 2022, "Evading adversarial example detection defenses with orthogonal
projected gradient descent", on what goes wrong with such weights).
"""

import numpy as np

from auditor.classifier import Array, Classifier, Evaluation
from auditor.spec import Loss


class Evading:
    """A classifier of n examples in which a refusal is worth as much as the label.

    y: (n,) int64 the labels, none of them in `refused`; every call must be about those n rows. The other classes are
    numbered without gaps, in their order: `y` says how the labels are. The classifier's losses must be of such scores
    already, as those of a graph with the same `refused` are.
    """

    def __init__(self, classifier: Classifier, y: Array, refused: tuple[int, ...]) -> None:
        self._classifier = classifier
        xp = self.xp = classifier.xp
        self.shape, self.domain = classifier.shape, classifier.domain
        kept = [k for k in range(classifier.classes) if k not in refused]
        self.classes = len(kept)
        self._number = xp.asarray(kept, dtype=np.int64)
        self._refused = xp.asarray(sorted(set(range(classifier.classes)) - set(kept)), dtype=np.int64)
        self.y = xp.searchsorted(self._number, y)
        self._own = xp.arange(self.classes)[None, :] == self.y[:, None]

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self.seen(self._classifier.logits(x, active=active))

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        """See Classifier.gradient."""
        aim = None if target is None else self._number[target]
        here = self._classifier.gradient(x, self._number[y], loss, target=aim, active=active)
        return Evaluation(self.seen(here.logits), here.loss, here.g)

    def seen(self, logits: Array) -> Array:
        """The model's scores at the n rows as an attack is shown them. (n, answers) -> (n, classes)"""
        xp = self.xp
        refusal = xp.max(logits[:, self._refused], axis=1)[:, None]
        kept = logits[:, self._number]
        return xp.where(self._own, xp.maximum(kept, refusal), kept)
