"""Examples as images: grey levels in [0, 1], whatever the domain and the layout are."""

from dataclasses import dataclass
from typing import Any

from auditor.classifier import Array
from auditor.data.domain import Box, bounds
from auditor.data.layout import channel_axis
from auditor.errors import DatasetError, SpecError
from auditor.spec import Layout

# The published parameters of corruptions exist for 32 and for 224 pixels; below this side those for 32 are taken.
_LARGE = 96


@dataclass(frozen=True)
class Pixels:
    """How one example is an image. axis: of the channels, 0 or 2; domain: where black and white lie."""

    channels: int
    height: int
    width: int
    axis: int
    domain: Box

    @classmethod
    def of(cls, shape: tuple[int, ...], layout: Layout | None, domain: Box | None) -> "Pixels":
        """Raises SpecError where one example of this shape is no image of one or three channels with a domain."""
        found = None
        if len(shape) == 3:
            try:
                found = channel_axis(shape, layout)
            except DatasetError as error:
                raise SpecError(str(error)) from error
        if found is None or shape[found] not in (1, 3) or domain is None:
            box = "without a domain" if domain is None else f"in [{domain[0]:g}, {domain[1]:g}]"
            raise SpecError(
                f"an example of shape {shape} {box} is no image; what moves pixels or colours needs three axes, one or "
                "three channels, and a domain"
            )
        height, width = (shape[i] for i in range(3) if i != found)
        return cls(shape[found], height, width, found, domain)

    @property
    def large(self) -> bool:
        """Whether parameters published for 224 pixels fit better than those for 32."""
        return min(self.height, self.width) >= _LARGE

    def planes(self, xp: Any, x: Array) -> Array:
        """(n, *shape) in the domain -> (n, channels, height, width) float32, black 0 and white 1"""
        lower, upper = self.domain
        levels = (x - xp.float32(lower)) / xp.float32(upper - lower)
        return levels if self.axis == 0 else xp.permute_dims(levels, (0, 3, 1, 2))

    def inputs(self, xp: Any, planes: Array) -> Array:
        """The way back, inside the domain. (n, channels, height, width) -> (n, *shape) float32"""
        lower, upper = self.domain
        x = xp.float32(lower) + xp.asarray(planes, dtype=xp.float32) * xp.float32(upper - lower)
        x = x if self.axis == 0 else xp.permute_dims(x, (0, 2, 3, 1))
        return xp.clip(x, *bounds(self.domain))

    def planes_of_gradient(self, xp: Any, g: Array) -> Array:
        """A gradient in the examples as one in the planes."""
        lower, upper = self.domain
        g = g * xp.float32(upper - lower)
        return g if self.axis == 0 else xp.permute_dims(g, (0, 3, 1, 2))
