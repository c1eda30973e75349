"""What a dataset tells by itself, before a model and a request say how it is meant."""

from pathlib import Path
from typing import Any

import numpy as np

from auditor.data.dataset import Dataset
from auditor.data.folders import LABEL_FILES
from auditor.data.members import members_of_zip
from auditor.data.read import read_dataset
from auditor.data.tables import TABLES, columns
from auditor.errors import DatasetError

_MOST_COUNTED = 2000  # classes


def look(path: Path) -> dict[str, Any]:
    """The facts of a file, ready for JSON; the first example is decoded.

    format; examples; shape of one, for images as the first comes; stored: type of the values; classes: how many the
    labels name, null without labels; class_names; labels: how many examples each class has, null where there are very
    many classes; labels_at_once: of how many labels each example has a set, where it has. Of a table or an archive of images whose labels a request still has to name, only what is known, and
    `remark` says what is missing. Raises DatasetError for what cannot be read.
    """
    try:
        dataset = read_dataset(path, domain=None)
        dataset.fetch(np.zeros(1, np.int64))
    except DatasetError as error:
        known = _without_labels(path)
        if known is None:
            raise
        return {"format": _format(path), **known, "remark": str(error)}
    return {"format": _format(path), **_facts(dataset)}


def _format(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _facts(dataset: Dataset) -> dict[str, Any]:
    names = dataset.class_names
    counted = dataset.labels or (len(names) if names else None)
    classes = None if dataset.y is None else counted or len(np.unique(dataset.y))
    few = dataset.y is not None and len(dataset.y) > 0 and dataset.labels is None
    labels = None if dataset.y is None or not few else np.bincount(dataset.y.clip(0, _MOST_COUNTED))
    return {
        "examples": dataset.size,
        "shape": list(dataset.shape),
        "stored": dataset.preprocessing["stored"],
        "classes": classes,
        "class_names": None if names is None else list(names),
        "labels": None if labels is None or len(labels) > _MOST_COUNTED else labels.tolist(),
        **({} if dataset.labels is None else {"labels_at_once": dataset.labels}),
    }


def _without_labels(path: Path) -> dict[str, Any] | None:
    """What is known of a file that is whole, but whose labels lie where they have to be named; None of any other."""
    if path.suffix.lower() in TABLES:
        names, rows = columns(path)
        return {"examples": rows, "columns": names} if rows and len(names) > 1 else None
    if path.suffix.lower() == ".zip" and set(LABEL_FILES) & set(members_of_zip(path, path.name).names):
        return {}
    return None
