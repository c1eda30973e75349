"""A model of several labels at once, as an attack sees it that has to change any of its decisions.

The class 0 stands for the example's own set of labels, with the score 0; the class k + 1 for another decision about label k,
with that label's score on its wrong side. The largest is 0 exactly where every decision is right (exact match), so that no
attack needs a form of its own for such models.
"""

from auditor.classifier import Array, Classifier, Evaluation
from auditor.graph.labelset import against
from auditor.spec import Loss


class ExactMatch:
    """A classifier of n examples that is right where it gives the set of labels `sets` (n,) int64, whose labels `y` here are
    all 0; every call must be about those n rows. The classifier's losses must be of such scores already, as those of a
    graph with the reading `multilabel` are, and its labels sets."""

    def __init__(self, classifier: Classifier, sets: Array) -> None:
        self._classifier, self._sets = classifier, sets
        self.xp, self.shape, self.domain = classifier.xp, classifier.shape, classifier.domain
        self.classes = classifier.classes + 1
        self.y = self.xp.zeros_like(sets)

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self.seen(self._classifier.logits(x, active=active))

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        """See Classifier.gradient."""
        here = self._classifier.gradient(x, self._sets, loss, target=target, active=active)
        return Evaluation(self.seen(here.logits), here.loss, here.g)

    def seen(self, logits: Array) -> Array:
        """The model's scores at the n rows as an attack is shown them. (n, labels) -> (n, labels + 1)"""
        return against(self.xp, logits, self._sets)
