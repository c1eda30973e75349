"""Adam's direction of descent: Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1."""

from typing import Any

from auditor.classifier import Array


class Adam:
    """The running moments of a gradient, row by row. A gradient that is not finite counts as zero."""

    def __init__(self, xp: Any, like: Array, *, first: float = 0.9, second: float = 0.999) -> None:
        self.xp, self.first, self.second, self.steps = xp, xp.float32(first), xp.float32(second), 0
        self.mean, self.square = xp.zeros_like(like), xp.zeros_like(like)

    def direction(self, g: Array) -> Array:
        """What to move by at a learning rate of 1, to be subtracted. (n, *shape) -> (n, *shape) float32"""
        self.see(g)
        return self.mean / (1 - self.first**self.steps) / self.scale

    def see(self, g: Array) -> None:
        xp = self.xp
        g = xp.where(xp.isfinite(g), g, xp.float32(0))
        self.steps += 1
        self.mean = self.first * self.mean + (1 - self.first) * g
        self.square = self.second * self.square + (1 - self.second) * g * g

    @property
    def scale(self) -> Array:
        """The square root of the second moment, never zero."""
        xp = self.xp
        return xp.sqrt(self.square / (1 - self.second**self.steps)) + xp.float32(1e-8)
