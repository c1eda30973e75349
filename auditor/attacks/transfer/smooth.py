"""A gradient smoothed over the image, so that the point also fools models that look at it slightly displaced.

Dong et al. 2019, "Evading defenses to transferable adversarial examples by translation-invariant attacks", section
3.2: the mean over displaced images is the gradient at one image convolved with the weights of the displacements.
"""

from math import exp
from typing import Any

from auditor.attacks.planes import Planes
from auditor.classifier import Array

SHARE = 7 / 299  # of the image's side: the kernel that the paper found best spans 15 of 299 pixels


def smoothed(xp: Any, planes: Planes, g: Array) -> Array:
    """g convolved with a Gaussian kernel, each channel by itself; g itself where the examples are no images and cannot be
    displaced. (n, *shape) -> (n, *shape)"""
    if not planes.image:
        return g
    image = planes.planes(g)
    for axis in (2, 3):
        image = _along(xp, image, axis, weights(image.shape[axis]))
    return planes.restored(image)


def weights(size: int) -> list[float]:
    """The kernel for an axis of `size` pixels: radius k at least 1, standard deviation k / sqrt(3) as in the paper,
    sum 1; a single 1 where there is nothing to smooth over."""
    k = max(round(SHARE * size), 1) if size > 1 else 0
    values = [exp(-1.5 * (i / k) ** 2) if k else 1.0 for i in range(-k, k + 1)]
    return [value / sum(values) for value in values]


def _along(xp: Any, image: Array, axis: int, kernel: list[float]) -> Array:
    """The correlation along one axis, zero beyond the edges."""
    k, size = len(kernel) // 2, image.shape[axis]
    edge = xp.zeros((*image.shape[:axis], k, *image.shape[axis + 1 :]), dtype=image.dtype)
    wide = xp.concat([edge, image, edge], axis=axis)
    before = (slice(None),) * axis
    total = xp.zeros_like(image)
    for offset, weight in enumerate(kernel):
        total = total + xp.float32(weight) * wide[(*before, slice(offset, offset + size))]
    return total
