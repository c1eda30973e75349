"""The parameters of the fifteen common corruptions at severities 1 to 5, as published with CIFAR-10-C (for 32 pixels) and
ImageNet-C (for 224) by Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
perturbations". Lengths of elastic-transform are shares of the image's side; all other lengths are pixels.
"""

from typing import Any

Severities = tuple[dict[str, Any], ...]

_NAMES: dict[str, tuple[str, ...]] = {
    "gaussian-noise": ("sigma",),
    "shot-noise": ("photons",),
    "impulse-noise": ("amount",),
    "defocus-blur": ("radius", "sigma"),
    "glass-blur": ("sigma", "reach", "rounds"),
    "motion-blur": ("radius", "sigma"),
    "zoom-blur": ("largest", "step"),
    "snow": ("mean", "sigma", "zoom", "threshold", "radius", "blur", "kept"),
    "frost": ("kept", "ice"),
    "fog": ("thickness", "decay"),
    "brightness": ("shift",),
    "contrast": ("factor",),
    "elastic-transform": ("strength", "sigma", "shear"),
    "pixelate": ("share",),
    "jpeg-compression": ("quality",),
}

_SMALL: dict[str, tuple[Any, ...]] = {
    "gaussian-noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot-noise": (500, 250, 100, 75, 50),
    "impulse-noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus-blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass-blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion-blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom-blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic-transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg-compression": (80, 65, 58, 50, 40),
}

_ELASTIC = 244 / 224  # the published lengths are shares of 244 for images of 224 pixels

_LARGE: dict[str, tuple[Any, ...]] = {
    "gaussian-noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot-noise": (60, 25, 12, 5, 3),
    "impulse-noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus-blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass-blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion-blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom-blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic-transform": tuple(
        tuple(round(share * _ELASTIC, 6) for share in shares)
        for shares in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg-compression": (25, 18, 15, 10, 7),
}


def severities(name: str, *, large: bool) -> Severities:
    """The parameters by name, mildest first."""
    values = (_LARGE if large else _SMALL)[name]
    return tuple(
        dict(zip(_NAMES[name], value if isinstance(value, tuple) else (value,), strict=True)) for value in values
    )
