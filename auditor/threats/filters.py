"""What several corruptions of images are made of. All act on each image and channel alone: (n, channels, h, w) float64,
black 0 and white 1."""

import numpy as np
from scipy import ndimage

from auditor.attacks.random import Random

_SPACE = (2, 3)


def gaussian(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by a Gaussian of so many pixels; the edge goes on outside."""
    return np.asarray(ndimage.gaussian_filter(planes, sigma, mode="nearest", axes=_SPACE))


def disk(planes: np.ndarray, radius: float, sigma: float) -> np.ndarray:
    """Blurred by a disk whose own rim is softened by a Gaussian of three pixels, or five where it is large."""
    reach = max(8, int(np.ceil(radius)))
    at = np.arange(-reach, reach + 1)
    kernel = (at[:, None] ** 2 + at[None, :] ** 2 <= radius**2).astype(np.float64)
    half = 1 if radius <= 8 else 2
    soft = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, soft / soft.sum(), axis=axis, mode="mirror")
    rows, columns = np.nonzero(kernel.any(axis=1))[0], np.nonzero(kernel.any(axis=0))[0]
    reach = int(max(reach - rows[0], reach - columns[0]))  # what is zero all around costs nothing
    middle = len(at) // 2
    kernel = kernel[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    return np.asarray(ndimage.correlate(planes, (kernel / kernel.sum())[None, None], mode="mirror"))


def motion(planes: np.ndarray, radius: int, sigma: float, degrees: np.ndarray) -> np.ndarray:
    """Smeared along a line: the mean of 2 radius + 1 copies, each a pixel further, weighted by half a Gaussian.
    degrees: (n,) the line's direction."""
    (n, _, h, w), angle = planes.shape, np.deg2rad(degrees)
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    smeared = np.zeros_like(planes)
    image = np.arange(n)[:, None, None]
    for step, weight in enumerate(weights / weights.sum()):
        down, right = (np.rint(step * part(angle)).astype(np.int64) for part in (np.sin, np.cos))
        rows = np.clip(np.arange(h)[None, :] + down[:, None], 0, h - 1)
        columns = np.clip(np.arange(w)[None, :] + right[:, None], 0, w - 1)
        moved = planes.transpose(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        smeared += weight * moved.transpose(0, 3, 1, 2)
    return smeared


def zoomed(planes: np.ndarray, factor: float) -> np.ndarray:
    """The middle of each image, enlarged to its size by bilinear interpolation."""
    for axis in _SPACE:
        side = planes.shape[axis]
        crop = int(np.ceil(side / factor))
        large = round(crop * factor)
        first, trim = (side - crop) // 2, (large - side) // 2
        at = (np.arange(side) + trim) * ((crop - 1) / max(large - 1, 1))
        low = np.minimum(at.astype(np.int64), max(crop - 2, 0))
        share = (at - low).reshape((side, 1) if axis == 2 else (side,))
        below, above = (np.take(planes, first + np.minimum(low + i, crop - 1), axis=axis) for i in (0, 1))
        planes = below * (1 - share) + above * share
    return planes


def plasma(rng: Random, height: int, width: int, decay: float) -> np.ndarray:
    """Clouds by the diamond-square algorithm (Fournier, Fussell & Carpenter 1982) on a torus, from 0 to 1.
    decay: by how much finer waves are lower, squared per halving -> (n, 1, height, width)"""
    side = 1 << (max(height, width) - 1).bit_length()
    field = np.zeros((len(rng.examples), side, side))
    step, size = side, 1.0
    while step >= 2:
        half, level = step // 2, field[:, ::step, ::step]
        square = level + np.roll(level, -1, 1)
        square = (square + np.roll(square, -1, 2)) / 4
        square = field[:, half::step, half::step] = square + size * _swing(rng.split(f"square {step}"), square.shape)
        for name, ours, axis in (("row", (0, half), 1), ("column", (half, 0), 2)):
            along = np.roll(level, -1, 3 - axis)
            mean = (level + along + square + np.roll(square, 1, axis)) / 4
            field[:, ours[0] :: step, ours[1] :: step] = mean + size * _swing(rng.split(f"{name} {step}"), mean.shape)
        step, size = half, size / decay**2
    field = field - field.min(axis=(1, 2), keepdims=True)
    return (field / field.max(axis=(1, 2), keepdims=True))[:, None, :height, :width]


def _swing(rng: Random, shape: tuple[int, ...]) -> np.ndarray:
    return 2 * rng.uniform(0, shape[1:]).astype(np.float64) - 1


def grey(planes: np.ndarray) -> np.ndarray:
    """Luma after ITU-R BT.601, (n, 1, h, w)."""
    if planes.shape[1] == 1:
        return planes
    weights = np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return np.sum(planes * weights, axis=1, keepdims=True)
