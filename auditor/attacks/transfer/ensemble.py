"""Several surrogates as one classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from auditor.attacks.norms import unit
from auditor.attacks.transfer.views import Pool
from auditor.classifier import Array, Classifier, Evaluation, Layer
from auditor.spec import Loss


@dataclass(frozen=True)
class Surrogate:
    """What a transfer attack is given besides the upload: what it follows, examples that are not attacked, and a layer
    inside what it follows."""

    classifier: Classifier
    pool: Pool | None = None
    layer: Layer | None = None


def abreast(xp: Any, layers: Sequence[Layer]) -> Layer:
    """Layers of several models as one: their features side by side, a direction at unit length in each of them, so that
    the size of one model's features does not drown another's. Every pass is one pass of each."""

    def at(x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
        features, total, start = [], xp.zeros_like(x), 0
        for layer in layers:
            part = None if along is None else unit(xp, along[:, start : start + layer.width], "L2")
            values, g = layer.at(x, part, active)
            features.append(values)
            total, start = total + g, start + layer.width
        return xp.concat(features, axis=1), total

    return Layer(sum(layer.width for layer in layers), at)


class Ensemble:
    """The mean of the members' logits, losses and gradients.

    Liu et al. 2017, "Delving into transferable adversarial examples and black-box attacks", section 4. For the losses
    that are linear in the scores (the difference and the logit) the mean of the losses is the loss of the mean scores.
    Every pass is one pass of each member.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        first = members[0]
        self.members = tuple(members)
        self.xp, self.shape, self.classes, self.domain = first.xp, first.shape, first.classes, first.domain

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        """See Classifier.logits."""
        return self._mean([member.logits(x, active=active) for member in self.members])

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
        seen = [member.gradient(x, y, loss, target=target, active=active) for member in self.members]
        return Evaluation(*(self._mean([getattr(e, part) for e in seen]) for part in ("logits", "loss", "g")))

    def _mean(self, arrays: Sequence[Array]) -> Array:
        return reduce(add, arrays) / self.xp.float32(len(arrays))
