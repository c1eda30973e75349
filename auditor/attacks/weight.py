"""The weight between breaking an example and staying near it, found by bisection for each example by itself."""

from typing import Any

from auditor.classifier import Array


class Weight:
    """c in |delta|^2 + c f(x + delta) (Carlini & Wagner 2017, section VI.A). first: (n,) float64, the first weight, which
    is multiplied by ten until one breaks the example."""

    def __init__(self, xp: Any, first: Array) -> None:
        self.xp, self.value = xp, first
        self.low, self.high = xp.zeros_like(first), xp.full(first.shape, xp.inf)

    def update(self, broken: Array) -> None:
        """After a descent with this weight: smaller where the example was broken (n,), else larger."""
        xp = self.xp
        self.high = xp.where(broken, xp.minimum(self.high, self.value), self.high)
        self.low = xp.where(broken, self.low, xp.maximum(self.low, self.value))
        bounded = xp.isfinite(self.high)
        middle = (self.low + xp.where(bounded, self.high, 0.0)) / 2
        self.value = xp.where(bounded, middle, 10.0 * self.value)
