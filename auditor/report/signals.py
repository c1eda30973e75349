"""Sounds and other signals as pictures: the outline of a waveform."""

import io
from math import log10

import numpy as np

FEWEST = 1000  # samples
_WIDTH, _HEIGHT = 240, 96  # pixels
_INK = 0x30


def is_signal(shape: tuple[int, ...]) -> bool:
    """Whether one example of this shape is a row of samples: a single axis with more than one entry, and many there."""
    return max(shape) >= FEWEST and max(shape) == int(np.prod(shape))


def outline(signal: np.ndarray, height: float) -> bytes:
    """PNG: in each column of pixels from the smallest to the largest of its samples. signal: (*shape); height: the size of a
    sample at the upper edge."""
    from PIL import Image

    samples = signal.ravel().astype(np.float64) / max(height, 1e-12)
    parts = np.array_split(samples, _WIDTH)
    low, high = (np.array([end(part) for part in parts]) for end in (np.min, np.max))
    row = (np.arange(_HEIGHT)[::-1, None] + 0.5) / _HEIGHT * 2 - 1
    thick = 1 / _HEIGHT  # half a pixel, so that a flat line is seen
    inked = (row >= low - thick) & (row <= high + thick)
    file = io.BytesIO()
    Image.fromarray(np.where(inked, _INK, 0xFF).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def signal_to_noise(x: np.ndarray, x_adv: np.ndarray) -> float:
    """The power of the example over that of its change, in decibels; as usual for sounds (Carlini & Wagner 2018, "Audio
    adversarial examples", compare loudest samples instead). -inf for an example of zeros."""
    signal, noise = (float(np.sum(part.astype(np.float64) ** 2)) for part in (x, x_adv.astype(np.float64) - x))
    if signal == 0:
        return -np.inf
    return np.inf if noise == 0 else 10 * log10(signal / noise)
