"""Datasets of images: decoding, resizing, cropping, and laying pixels out as the model wants them.

Pixels are resized by Pillow on eight bits, as torchvision and transformers do with Pillow images. EXIF rotation is not applied
and transparency is dropped, as neither library does otherwise.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.data.domain import Box, Domain, domain_of_levels, level_values
from auditor.data.folders import Listing, digest_members
from auditor.data.geometry import Form, centre, covering, form_of, resized
from auditor.data.layout import Shape
from auditor.data.members import Members
from auditor.data.preprocessing import Preprocessing
from auditor.data.preprocessor_config import CONFIG_NAME, parse_config
from auditor.errors import DatasetError
from auditor.spec import Layout

MAX_PIXELS = 100_000_000

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def read_images(
    members: Members,
    listing: Listing,
    name: str,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    declared: Preprocessing,
) -> Dataset:
    """Images among some files, and their labels. Nothing but the first image is decoded here."""
    preprocessing, config = declared, None
    if CONFIG_NAME in members.names:
        config = CONFIG_NAME
        preprocessing = declared.over(parse_config(members.read(CONFIG_NAME), CONFIG_NAME))
    first = _decoded(members.read(listing.images[0]), listing.images[0])
    chosen = preprocessing.resize is None and preprocessing.crop is None
    if chosen:
        preprocessing = covering(preprocessing, shape, layout)
    form = form_of(preprocessing, shape, layout, first.size, name)
    box, ends = domain_of_levels(domain, preprocessing.ends, name)
    levels = level_values(ends)

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        x = np.empty((len(index), *form.shape), dtype=np.float32)
        for row, position in enumerate(index):
            image = listing.images[position]
            x[row] = levels[pixels(members.read(image), image, preprocessing, form)]
        return x

    return Dataset(
        name=name,
        sha256=digest_members(members, listing),
        size=len(listing.images),
        shape=form.shape,
        y=listing.y,
        class_names=listing.class_names,
        domain=box,
        implied_domain=preprocessing.ends or (0.0, 1.0),
        normalisation=preprocessing.normalisation,
        preprocessing={
            "source": {"labels": listing.labels_from, "config": config, "size_declared": not chosen},
            "stored": "images",
            "steps": _steps(preprocessing, form, ends),
        },
        decode=decode,
        columns=listing.columns,
    )


def pixels(content: bytes, name: str, preprocessing: Preprocessing, form: Form) -> NDArray[np.uint8]:
    """One image file's bytes -> its grey levels (*form.shape) uint8, resized, cropped and laid out.

    Raises DatasetError naming the file when it cannot be decoded or does not come out at the form's size.
    """
    image = _decoded(content, name)
    if preprocessing.grayscale or form.channels == 1:
        image = image.convert("L")
    image = image.convert("L" if form.channels == 1 else "RGB")
    if preprocessing.resize is not None:
        height, width = resized(preprocessing.resize, image.size)
        image = image.resize((width, height), _filter(preprocessing.interpolation))
    if preprocessing.crop is not None:
        image = image.crop(centre(preprocessing.crop, image.size, name))
    if image.size != (form.width, form.height):
        raise DatasetError(
            f"{name} comes out at {image.height} x {image.width} pixels (height x width), but the model takes "
            f"{form.height} x {form.width}: declare another resize or a crop."
        )
    values = np.asarray(image, dtype=np.uint8).reshape(form.height, form.width, form.channels)
    if preprocessing.channel_order == "BGR":
        values = values[:, :, ::-1]
    if form.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return values.reshape(form.shape)


def _decoded(content: bytes, name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DatasetError(
                f"{name} has {image.width} x {image.height} pixels, more than the {MAX_PIXELS} allowed."
            )
        if image.mode not in _EIGHT_BIT_MODES:
            raise DatasetError(
                f"{name} has pixels of mode {image.mode}, not eight bits per channel: convert it, or store the values as "
                "an array with a declared domain."
            )
        image.load()
    except Image.DecompressionBombError:
        raise DatasetError(f"{name} is far larger decoded than allowed ({MAX_PIXELS} pixels).") from None
    except UnidentifiedImageError:
        raise DatasetError(f"{name} is not a readable image ({', '.join(_FORMATS)}); remove or convert it.") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DatasetError(f"{name} is a damaged image: {error}. Remove or replace it.") from None
    return image


def _filter(interpolation: str | None) -> Any:
    from PIL import Image

    return Image.Resampling[(interpolation or "bilinear").upper()]


def _steps(preprocessing: Preprocessing, form: Form, ends: Box) -> list[dict[str, Any]]:
    """What `pixels` and the scale do, in their order."""
    steps: list[dict[str, Any]] = []
    if preprocessing.grayscale or form.channels == 1:
        steps.append({"step": "grayscale"})
    if preprocessing.resize is not None:
        key = "shorter_side" if isinstance(preprocessing.resize, int) else "size"
        to = preprocessing.resize if isinstance(preprocessing.resize, int) else list(preprocessing.resize)
        steps.append({"step": "resize", key: to, "interpolation": preprocessing.interpolation or "bilinear"})
    if preprocessing.crop is not None:
        steps.append({"step": "crop", "size": list(preprocessing.crop)})
    if form.channels == 3:
        steps.append({"step": "channel_order", "order": preprocessing.channel_order or "RGB"})
    steps.append({"step": "layout", "layout": form.layout, "shape": list(form.shape)})
    steps.append({"step": "scale", "from": [0, 255], "to": list(ends)})
    return steps
