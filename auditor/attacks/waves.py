"""Noise as smooth as images are: random sums of the lowest waves of the discrete cosine transform."""

from math import ceil

import numpy as np

from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.classifier import Array

FEWEST = 8  # waves along a side that are kept however small the share


def smooth(view: Planes, rng: Random, step: int, share: float) -> Array:
    """(n, *shape) normal noise in the lowest `share` of an image's frequencies along each side, nearly as many times
    smoother as the share is small; white noise where there is no image."""
    if not view.image:
        return rng.bell(step, view.shape)
    xp, (height, width) = view.xp, view.size
    down, across = _cosines(height, share), _cosines(width, share)
    channels = view.shape[2] if view.last else view.shape[0]
    waves = rng.bell(step, (channels, down.shape[0], across.shape[0]))
    # Sums in a fixed order, so that a row's bits do not depend on its neighbours.
    columns = sum(xp.asarray(wave)[:, None] * waves[:, :, k, None, :] for k, wave in enumerate(down))
    return view.restored(sum(xp.asarray(wave) * columns[:, :, :, k, None] for k, wave in enumerate(across)))


def _cosines(size: int, share: float) -> np.ndarray:
    """(waves, size): the first rows of the discrete cosine transform."""
    waves = np.arange(max(ceil(share * size), min(size, FEWEST)))[:, None]
    return np.cos(np.pi * (np.arange(size) + 0.5) * waves / size).astype(np.float32)
