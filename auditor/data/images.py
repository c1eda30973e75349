"""Datasets of images: decoding, resizing and cropping (see `pictures`), and laying pixels out as the model wants them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.data.decoding import Decoder
from auditor.data.domain import Box, Domain, domain_of_levels, level_values
from auditor.data.folders import Listing, digest_members
from auditor.data.geometry import Form, covering, form_of
from auditor.data.layout import Shape
from auditor.data.members import Members
from auditor.data.pictures import INTERPOLATION, Picture
from auditor.data.preprocessing import Preprocessing
from auditor.data.preprocessor_config import CONFIG_NAME, parse_config
from auditor.spec import Layout


def read_images(
    members: Members,
    listing: Listing,
    name: str,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    declared: Preprocessing,
    decoder: Decoder,
) -> Dataset:
    """Images among some files, and their labels. Nothing but the first image is decoded here."""
    preprocessing, config = declared, None
    if CONFIG_NAME in members.names:
        config = CONFIG_NAME
        preprocessing = declared.over(parse_config(members.read(CONFIG_NAME), CONFIG_NAME))
    first = decoder.size(members.read(listing.images[0]), listing.images[0])
    chosen = preprocessing.resize is None and preprocessing.crop is None
    if chosen:
        preprocessing = covering(preprocessing, shape, layout)
    form = form_of(preprocessing, shape, layout, first, name)
    box, ends = domain_of_levels(domain, preprocessing.ends, name)
    levels = level_values(ends)
    picture = Picture(
        channels=form.channels,
        height=form.height,
        width=form.width,
        grayscale=bool(preprocessing.grayscale) or form.channels == 1,
        resize=preprocessing.resize,
        crop=preprocessing.crop,
        interpolation=preprocessing.interpolation or INTERPOLATION,
    )

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        x = np.empty((len(index), *form.shape), dtype=np.float32)
        for row, position in enumerate(index):
            image = listing.images[position]
            x[row] = levels[_laid_out(decoder.pixels(members.read(image), image, picture), preprocessing, form)]
        return x

    return Dataset(
        name=name,
        sha256=digest_members(members, listing),
        size=len(listing.images),
        shape=form.shape,
        y=listing.y,
        class_names=listing.class_names,
        labels=listing.labels,
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


def _laid_out(levels: NDArray[np.uint8], preprocessing: Preprocessing, form: Form) -> NDArray[np.uint8]:
    """(height, width, channels) in RGB -> (*form.shape)"""
    if preprocessing.channel_order == "BGR":
        levels = levels[:, :, ::-1]
    if form.layout == "NCHW":
        levels = levels.transpose(2, 0, 1)
    return levels.reshape(form.shape)


def _steps(preprocessing: Preprocessing, form: Form, ends: Box) -> list[dict[str, Any]]:
    """What `pixels` and the scale do, in their order."""
    steps: list[dict[str, Any]] = []
    if preprocessing.grayscale or form.channels == 1:
        steps.append({"step": "grayscale"})
    if preprocessing.resize is not None:
        key = "shorter_side" if isinstance(preprocessing.resize, int) else "size"
        to = preprocessing.resize if isinstance(preprocessing.resize, int) else list(preprocessing.resize)
        steps.append({"step": "resize", key: to, "interpolation": preprocessing.interpolation or INTERPOLATION})
    if preprocessing.crop is not None:
        steps.append({"step": "crop", "size": list(preprocessing.crop)})
    if form.channels == 3:
        steps.append({"step": "channel_order", "order": preprocessing.channel_order or "RGB"})
    steps.append({"step": "layout", "layout": form.layout, "shape": list(form.shape)})
    steps.append({"step": "scale", "from": [0, 255], "to": list(ends)})
    return steps
