"""Expectation over chance, in a model or before it: what an attack sees is the mean over several draws.

Athalye, Engstrom, Ilyas & Kwok 2018, "Synthesizing robust adversarial examples" (expectation over transformation);
Athalye, Carlini & Wagner 2018 on randomised defences. Losses, gradients and scores are averaged over the draws.
"""

from auditor.attacks.attempt import margin
from auditor.classifier import Array, Classifier, Evaluation, Layer
from auditor.spec import Loss

# A point counts only when other classes surely win most of the fresh draws (see `votes`). So that attacks do not stop
# where draws are even, the own class leads by so many standard deviations of the margin in what they see: past that,
# about five draws out of six give another class.
_SURE = 1.0


class Averaged:
    """A classifier whose every pass is the mean over `draws` passes, each of which counts. y: (n,) the labels of the n
    rows that every call must be about; target: (n,) the class that has to be reached, where there is one."""

    def __init__(self, classifier: Classifier, draws: int, y: Array, target: Array | None = None) -> None:
        self._classifier, self._draws = classifier, draws
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain
        self._of = y if target is None else target
        chosen = self.xp.arange(self.classes)[None, :] == self._of[:, None]
        self._ahead = chosen if target is None else ~chosen

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self._scores([self._classifier.logits(x, active=active) for _ in range(self._draws)])

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        """See Classifier.gradient."""
        found = [self._classifier.gradient(x, y, loss, target=target, active=active) for _ in range(self._draws)]
        share = self.xp.float32(1 / self._draws)
        return Evaluation(
            logits=self._scores([one.logits for one in found]),
            loss=sum(one.loss for one in found) * share,
            g=sum(one.g for one in found) * share,
        )

    def layer(self, layer: Layer) -> Layer:
        """A layer of the classifier, its features and slopes in the mean."""

        def at(x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
            features, g = zip(*(layer.at(x, along, active) for _ in range(self._draws)), strict=True)
            share = self.xp.float32(1 / self._draws)
            return sum(features) * share, sum(g) * share

        return Layer(layer.width, at)

    def _scores(self, drawn: list[Array]) -> Array:
        """Mean scores, the own class ahead, or all but the target. NaN in a row of which a draw was not finite."""
        xp = self.xp
        mean = sum(drawn) * xp.float32(1 / self._draws)
        margins = [margin(xp, logits, self._of) for logits in drawn]
        centre = sum(margins) * xp.float32(1 / self._draws)
        spread = xp.sqrt(sum((one - centre) ** 2 for one in margins) * xp.float32(1 / self._draws))
        return xp.where(self._ahead, mean + xp.float32(_SURE) * spread[:, None], mean)
