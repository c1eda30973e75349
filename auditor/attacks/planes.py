"""An example of any rank looked at as (channels, height, width): images by their layout, anything else as one channel
of width 1, so that neighbouring features are neighbouring rows."""

from math import prod
from typing import Any

from auditor.classifier import Array
from auditor.spec import Layout


class Planes:
    """The shape of one example as (channels, height, width), and back. size: (height, width)"""

    def __init__(self, xp: Any, shape: tuple[int, ...], layout: Layout) -> None:
        self.xp, self.shape = xp, shape
        self.last = len(shape) == 3 and layout == "NHWC"
        self.image = len(shape) == 3 and 1 not in shape[:2] if self.last else len(shape) == 3
        self.size: tuple[int, int] = (prod(shape), 1)
        if self.image:
            self.size = (shape[0], shape[1]) if self.last else (shape[1], shape[2])

    def planes(self, x: Array) -> Array:
        """(n, *shape) -> (n, channels, height, width)"""
        if not self.image:
            return x.reshape((x.shape[0], 1, -1, 1))
        return self.xp.ascontiguousarray(self.xp.permute_dims(x, (0, 3, 1, 2))) if self.last else x

    def restored(self, planes: Array) -> Array:
        """(n, channels, height, width) -> (n, *shape)"""
        if not self.image:
            return planes.reshape((planes.shape[0], *self.shape))
        return self.xp.ascontiguousarray(self.xp.permute_dims(planes, (0, 2, 3, 1))) if self.last else planes
