"""Inputs of a model that takes float16: only points that float16 holds are inputs, so that nothing is rounded between the
point whose distance is measured and the point that the model sees."""

from typing import Any

import numpy as np

from auditor.attacks.space import AtInputs, Space, View
from auditor.classifier import Array, Classifier


class Half(Space):
    """The domain's points that float16 holds. Those of an attack are rounded towards x, so that none leaves its ball."""

    def view(self, classifier: Classifier, x: Array) -> View:
        return _InHalf(classifier, x)

    def admits(self, x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
        return np.all((in_half(np, x_adv) == x_adv).reshape(len(x_adv), -1), axis=1)


class _InHalf(View):
    def __init__(self, classifier: Classifier, x: Array) -> None:
        super().__init__(AtInputs(classifier, self), x)
        self.xp = classifier.xp

    def input(self, points: Array) -> Array:
        xp, x = self.xp, self.x
        nearest = in_half(xp, points)
        beyond = xp.abs(nearest - x) > xp.abs(points - x)
        inward = xp.nextafter(nearest.astype(xp.float16), x.astype(xp.float16)).astype(xp.float32)
        return xp.where(beyond, inward, nearest)


def in_half(xp: Any, x: Array) -> Array:
    """The nearest float16 numbers, as float32; infinite where the number is too large for float16."""
    with np.errstate(over="ignore"):
        return x.astype(xp.float16).astype(xp.float32)
