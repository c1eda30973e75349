"""Noise as smooth as images are: random sums of the lowest waves of the discrete cosine transform."""

from math import ceil

import numpy as np

from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.classifier import Array

FEWEST = 8  # waves along a side that are kept however small the share


class Waves:
    """The lowest `share` of an image's frequencies along each side."""

    def __init__(self, view: Planes, share: float) -> None:
        self._view = view
        sides = view.size if view.image else ()
        self._cosines = [view.xp.asarray(_cosines(side, share)) for side in sides]

    def noise(self, rng: Random, step: int) -> Array:
        """(n, *shape) random sums of the waves, with normal weights; white noise where there is no image."""
        view = self._view
        if not view.image:
            return rng.bell(step, view.shape)
        down, across = self._cosines
        weights = rng.bell(step, (view.shape[2 if view.last else 0], down.shape[0], across.shape[0]))
        # Sums in a fixed order, so that a row's bits do not depend on its neighbours.
        columns = sum(down[k, :, None] * weights[:, :, k, None, :] for k in range(down.shape[0]))
        return view.restored(sum(across[k, :] * columns[:, :, :, k, None] for k in range(across.shape[0])))


def _cosines(size: int, share: float) -> np.ndarray:
    """(waves, size): the first rows of the discrete cosine transform, at least FEWEST of them."""
    waves = np.arange(max(ceil(share * size), min(size, FEWEST)))[:, None]
    return np.cos(np.pi * (np.arange(size) + 0.5) * waves / size).astype(np.float32)
