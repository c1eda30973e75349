"""One parameter of an image from little to much: blur, compression, brightness. Turns and moves are in `spatial`."""

import numpy as np

from auditor.attacks.random import Random
from auditor.threats import filters
from auditor.threats.corruptions import corrupting, jpeg_compression
from auditor.threats.pixels import Pixels
from auditor.threats.threat import OtherThreat


def gaussian_blur(pixels: Pixels) -> OtherThreat:
    """Deviations in pixels, larger where images are."""
    scale = 4.0 if pixels.large else 1.0

    def blurred(planes: np.ndarray, rng: Random, *, sigma: float) -> np.ndarray:
        return filters.gaussian(planes, sigma)

    settings = tuple({"sigma": scale * sigma} for sigma in (0.5, 0.75, 1.0, 1.5, 2.0))
    return OtherThreat("gaussian-blur", "sweep", settings, corrupting(blurred))


def jpeg_quality(pixels: Pixels) -> OtherThreat:
    settings = tuple({"quality": quality} for quality in (95, 80, 60, 40, 20, 10))
    return OtherThreat("jpeg-quality", "sweep", settings, corrupting(jpeg_compression))


def brightness_shift(pixels: Pixels) -> OtherThreat:
    """A constant is added to every value."""

    def shifted(planes: np.ndarray, rng: Random, *, shift: float) -> np.ndarray:
        return planes + shift

    settings = tuple({"shift": shift} for shift in (-0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4))
    return OtherThreat("brightness-shift", "sweep", settings, corrupting(shifted))
