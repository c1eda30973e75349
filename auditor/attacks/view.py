"""An example of any rank seen as an image."""

from math import ceil
from typing import Any

import numpy as np

from auditor.attacks.random import Random
from auditor.classifier import Array
from auditor.spec import Layout

FEWEST = 8  # waves along a side that are kept however small the share


class View:
    """An example's shape as (channels, height, width) and back."""

    def __init__(self, xp: Any, shape: tuple[int, ...], layout: Layout) -> None:
        self.xp, self.shape = xp, shape
        self.last = len(shape) == 3 and layout == "NHWC"
        self.image = len(shape) == 3 and 1 not in shape[:2] if self.last else len(shape) == 3

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

    def smooth(self, rng: Random, step: int, share: float) -> Array:
        """(n, *shape) normal noise in the lowest `share` of an image's frequencies along each side, nearly as many
        times smoother as the share is small; white noise where there is no image."""
        if not self.image:
            return rng.bell(step, self.shape)
        c, h, w = (self.shape[2], *self.shape[:2]) if self.last else self.shape
        down, across = _cosines(h, share), _cosines(w, share)
        waves = rng.bell(step, (c, down.shape[0], across.shape[0]))
        # Sums in a fixed order, so that a row's bits do not depend on its neighbours.
        columns = sum(self.xp.asarray(wave)[:, None] * waves[:, :, k, None, :] for k, wave in enumerate(down))
        return self.restored(sum(self.xp.asarray(wave) * columns[:, :, :, k, None] for k, wave in enumerate(across)))


def _cosines(size: int, share: float) -> np.ndarray:
    """(waves, size): the first rows of the discrete cosine transform."""
    waves = np.arange(max(ceil(share * size), min(size, FEWEST)))[:, None]
    return np.cos(np.pi * (np.arange(size) + 0.5) * waves / size).astype(np.float32)
