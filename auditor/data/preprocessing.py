"""Declared preprocessing: what turns a decoded image into a model's input.

The attack acts after resizing, cropping, channel order and scale, which `Dataset.fetch` has done, and before mean and
std, which are handed on as `Normalisation` and become part of the attacked graph.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

from auditor.data.domain import Box
from auditor.errors import DatasetError
from auditor.spec import Normalisation

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # in the order of Pillow's codes


@dataclass(frozen=True)
class Preprocessing:
    """What the user declared; None is "not declared".

    resize: an integer is the length of the shorter side, a pair the exact (height, width).
    crop: (height, width) cut from the centre.
    interpolation: Pillow's filters, on eight-bit pixels; bilinear when undeclared.
    channel_order: how the model wants colours; RGB when undeclared.
    grayscale: whether colours are dropped (ITU-R 601-2 luma); from the model's channels when undeclared.
    scale, offset: value = grey level * scale + offset; 1/255 and 0 when both are undeclared.
    mean, std: (x - mean) / std after scale and offset; one number for all channels, or one per channel.
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: Interpolation | None = None
    channel_order: Literal["RGB", "BGR"] | None = None
    grayscale: bool | None = None
    scale: float | None = None
    offset: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for side in (*_sides(self.resize), *_sides(self.crop)):
            if side < 1:
                raise DatasetError(f"A side of {side} pixels is not a size: resize and crop need positive integers.")
        if self.interpolation not in (None, *INTERPOLATIONS):
            raise DatasetError(
                f"There is no interpolation '{self.interpolation}'; choose one of {', '.join(INTERPOLATIONS)}."
            )
        if self.channel_order not in (None, "RGB", "BGR"):
            raise DatasetError(f"There is no channel order '{self.channel_order}'; choose RGB or BGR.")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise DatasetError(
                f"The scale {self.scale:g} is not a positive number; 1/255 maps grey levels to [0, 1]."
            )
        if self.std is not None and not all(math.isfinite(value) and value > 0 for value in self.std):
            raise DatasetError(f"The std {_numbers(self.std)} holds a value that is not a positive number.")
        if self.mean is not None and not all(map(math.isfinite, self.mean)):
            raise DatasetError(f"The mean {_numbers(self.mean)} holds a value that is not a finite number.")
        if self.mean is not None and self.std is not None and len({len(self.mean), len(self.std)} - {1}) > 1:
            raise DatasetError(
                f"The mean {_numbers(self.mean)} and the std {_numbers(self.std)} are for different numbers of channels."
            )

    @property
    def ends(self) -> Box | None:
        """Where scale and offset send the levels 0 and 255; None when neither is declared."""
        if self.scale is None and self.offset is None:
            return None
        lower = self.offset or 0.0
        width = 255 * (self.scale if self.scale is not None else 1 / 255)
        # A scale written with a few digits (0.00392157) means 1/255.
        return (lower, lower + (round(width) if math.isclose(width, round(width), rel_tol=1e-5) else width))

    @property
    def normalisation(self) -> Normalisation | None:
        if self.mean is None and self.std is None:
            return None
        return Normalisation(mean=self.mean or (0.0,), std=self.std or (1.0,))

    def over(self, found: "Preprocessing") -> "Preprocessing":
        """These declarations, with what they leave open filled from `found`."""
        declared = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return replace(found, **declared)

    def refuse_for_arrays(self, name: str, *, eight_bit: bool) -> None:
        """Raises DatasetError when steps are declared that only decoded images (or eight-bit values) go through."""
        image_steps = ("resize", "crop", "interpolation", "channel_order", "grayscale")
        steps = image_steps if eight_bit else (*image_steps, "scale", "offset")
        declared = [step for step in steps if getattr(self, step) is not None]
        if declared:
            raise DatasetError(
                f"{name} holds values that are taken as they are, so {', '.join(declared)} cannot be applied: store "
                "what the model sees before normalisation, or give a folder of images."
            )


_NAMES = tuple(entry.name for entry in fields(Preprocessing))


def _sides(size: int | tuple[int, int] | None) -> tuple[int, ...]:
    if size is None:
        return ()
    return (size,) if isinstance(size, int) else size


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
