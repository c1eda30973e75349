"""Sizes: what resize and crop make of an image, and what the model's input shape asks for."""

from dataclasses import dataclass, replace
from math import prod

from auditor.data.layout import Shape, channel_axis
from auditor.data.pictures import resized
from auditor.data.preprocessing import Preprocessing
from auditor.errors import DatasetError
from auditor.spec import Layout

Size = tuple[int, int]  # (height, width), except where Pillow's (width, height) is named


@dataclass(frozen=True)
class Form:
    """What every decoded image becomes. shape: of one example; layout: of an image before it is laid flat."""

    channels: int
    height: int
    width: int
    layout: Layout
    shape: tuple[int, ...]


def covering(preprocessing: Preprocessing, shape: Shape | None, layout: Layout | None) -> Preprocessing:
    """The size to take where none was declared: for square inputs the shorter side, then the centre; otherwise exact.

    Unchanged when the model does not fix its size.
    """
    height, width = _image_axes(shape, layout)[1:]
    if height is None or width is None:
        return preprocessing
    if height == width:
        return replace(preprocessing, resize=height, crop=(height, width))
    return replace(preprocessing, resize=(height, width))


def form_of(preprocessing: Preprocessing, shape: Shape | None, layout: Layout | None, first: Size, name: str) -> Form:
    """The form of every image. `first`: Pillow's size of the first image, which decides what nothing else fixes.

    Raises DatasetError when the model's input cannot be an image of one or three channels.
    """
    channels, height, width = _image_axes(shape, layout)
    comes_out = _outcome(preprocessing, first)
    height, width = height or comes_out[0], width or comes_out[1]
    pixels = height * width
    if shape is not None and _is_flat(shape):
        values = prod(side for side in shape if side is not None)
        if values not in (pixels, 3 * pixels):
            raise DatasetError(
                f"{name}: the model's input takes {values} values, but its images have {height} x {width} pixels after "
                "preprocessing, in one channel or three: declare the resize or crop that fits."
            )
        channels = values // pixels
        final: tuple[int, ...] = tuple(side for side in shape if side is not None)
        return Form(channels, height, width, layout or "NCHW", final)
    channels = channels or (1 if preprocessing.grayscale else 3)
    if channels not in (1, 3) or (channels == 1 and preprocessing.grayscale is False):
        raise DatasetError(f"{name}: the model's input has {channels} channels, which its colour images do not have.")
    if shape is not None and len(shape) == 2:
        return Form(channels, height, width, "NCHW", (height, width))
    if shape is None:
        found: Layout = layout or "NCHW"
    else:
        found = "NCHW" if channel_axis(shape, layout) == 0 else "NHWC"
    laid_out = (channels, height, width) if found == "NCHW" else (height, width, channels)
    return Form(channels, height, width, found, laid_out)


def _image_axes(shape: Shape | None, layout: Layout | None) -> tuple[int | None, int | None, int | None]:
    """The model's (channels, height, width), None for what it does not fix."""
    if shape is None or _is_flat(shape):
        return None, None, None
    if len(shape) == 2:
        return 1, *shape
    if len(shape) != 3:
        raise DatasetError(
            f"The model's input shape {shape} has {len(shape)} axes besides the batch; images have two or three."
        )
    axis = channel_axis(shape, layout)
    height, width = shape[:axis] + shape[axis + 1 :]
    return shape[axis], height, width


def _is_flat(shape: Shape) -> bool:
    """Whether at most one axis is longer than 1; a free axis may be of any length."""
    return None not in shape and sum(side != 1 for side in shape) <= 1


def _outcome(preprocessing: Preprocessing, first: Size) -> Size:
    if preprocessing.crop is not None:
        return preprocessing.crop
    if preprocessing.resize is not None:
        return resized(preprocessing.resize, first)
    return first[1], first[0]
