"""Labels as class indices."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.errors import DatasetError
from auditor.graph.labelset import MOST, decode, encode
from auditor.graph.upload import Upload


def read_labels(values: NDArray[Any], name: str) -> tuple[NDArray[np.int64], tuple[str, ...] | None, int | None]:
    """Labels as they came -> what `integer_labels` gives, and of how many labels each is a set: (N, K) zeros and ones are, with
    two labels at least; None of classes."""
    several = values.ndim == 2 and 1 < values.shape[1] <= MOST and values.dtype.kind in "biuf"
    if several and bool(np.isin(values, (0, 1)).all()):
        return encode(np, values == 1), None, values.shape[1]
    return *integer_labels(values, name), None


def several_columns(named: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of several labels that NAME,NAME,… stands for, none where one column is meant."""
    if named is None or "," not in named or named in columns:
        return ()
    return tuple(name.strip() for name in named.split(","))


def sets_of(rows: Sequence[Sequence[str]], names: Sequence[str], name: str) -> tuple[NDArray[np.int64], int]:
    """Texts, one for each label of each example -> sets of labels (N,) int64 and how many labels there are. DatasetError for a
    text that is neither 0 nor 1."""
    for row in rows:
        for text, label in zip(row, names, strict=True):
            if text not in ("0", "1"):
                raise DatasetError(f"{name}: the label {label} is '{text[:40]}'; of several labels each is 0 or 1.")
    if len(names) > MOST:
        raise DatasetError(f"{name}: {len(names)} labels at once are more than the {MOST} that can be audited.")
    return encode(np, np.array(rows) == "1"), len(names)


def of_model(dataset: Dataset, upload: Upload) -> Dataset:
    """The dataset with the labels that the model decides about, in its order where both name them: all of an example as one
    set, or the one that is audited alone. DatasetError where the two do not fit."""
    y, labels = dataset.y, dataset.labels
    if y is None or (labels is None and not upload.multilabel):
        return dataset
    if labels is not None and dataset.class_names and set(dataset.class_names) == set(upload.class_names):
        order = [dataset.class_names.index(label) for label in upload.class_names]
        y = encode(np, decode(np, y, labels)[:, order])
        dataset = dataclasses.replace(dataset, y=y, class_names=upload.class_names)
    if (labels or 1) != upload.width:
        raise DatasetError(
            f"{dataset.name} has {labels or 1} labels for each example, and the model decides about {upload.width}; store them "
            "as zeros and ones of shape (N, labels), in the model's order, or name their columns with --label-column a,b,c"
        )
    if upload.label is not None:
        return dataclasses.replace(dataset, y=(y >> upload.label) & 1, labels=None, class_names=None)
    return dataset


def one_each(dataset: Dataset) -> bool:
    """Whether several labels are told of each example, and every example has exactly one."""
    y = dataset.y
    return y is not None and dataset.labels is not None and bool(((y > 0) & (y & (y - 1) == 0)).all())


def integer_labels(values: NDArray[Any], name: str) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Labels as they came, (N,) or (N, 1) -> class indices (N,) int64 and, when they were names, each class's name.

    Whole numbers are class indices; names are numbered in sorted order. Raises DatasetError for anything else.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DatasetError(
            f"{name}: labels of shape {values.shape} are not one class index per example; "
            "for one-hot labels or scores, store their argmax; of several labels at once, zeros and ones of shape "
            f"(N, labels), at most {MOST} of them."
        )
    if values.dtype.kind in "US":
        return named_labels([str(value) for value in values.astype(str)])
    if values.dtype.kind in "biu":
        return values.astype(np.int64), None
    if values.dtype.kind != "f":
        raise DatasetError(f"{name}: labels of type {values.dtype} are neither integers nor names.")
    whole = np.isfinite(values) & (np.trunc(values) == values)
    if not whole.all():
        first = int((~whole).argmax())
        raise DatasetError(
            f"{name}: the label {values[first]} of example {first} is not an integer; "
            "labels are class indices counted from 0."
        )
    return values.astype(np.int64), None


def named_labels(
    values: Sequence[str], class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Class names -> indices (N,) int64 and the name of each index.

    Names that are all whole numbers are indices already (so that "10" comes after "2"). Otherwise a name's index is
    its place in `class_names`, or in sorted order when none are given. Raises DatasetError for a name not among them.
    """
    if not all(values):
        raise DatasetError(
            f"The label of example {list(values).index('')} is empty; fill it in or remove the example."
        )
    if class_names is None and all(_is_index(value) for value in values):
        return np.array([int(value) for value in values], dtype=np.int64), None
    names = tuple(class_names) if class_names is not None else tuple(sorted(set(values)))
    place = {name: position for position, name in enumerate(names)}
    unknown = sorted(set(values) - place.keys())
    if unknown:
        raise DatasetError(
            f"The class '{unknown[0]}' is not among the {len(names)} classes listed; add it, or correct the labels."
        )
    return np.array([place[value] for value in values], dtype=np.int64), names


def check_labels(y: NDArray[np.int64], classes: int) -> None:
    """Raises DatasetError unless every label of y (N,) is the index of one of the model's classes."""
    outside = (y < 0) | (y >= classes)
    if not outside.any():
        return
    smallest, largest = int(y.min()), int(y.max())
    worst = smallest if smallest < 0 else largest
    raise DatasetError(
        f"{int(outside.sum())} labels are out of range, the first the {int(y[outside.argmax()])} of example "
        f"{int(outside.argmax())}: labels go from {smallest} to {largest}, but the model has {classes} classes, 0 to "
        f"{classes - 1}. {_label_hint(smallest, largest, worst, classes)}"
    )


def _label_hint(smallest: int, largest: int, worst: int, classes: int) -> str:
    if smallest == 1 and largest == classes:
        return "They seem to be counted from 1: subtract 1."
    if worst == -1:
        return "-1 often marks examples without a label: remove those, or give no labels at all."
    return "Check that the labels belong to this model."


def _is_index(value: str) -> bool:
    return value.isascii() and value.isdecimal()


def in_order_of(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The dataset with its named classes numbered as a model numbers them, where the two share names; else as it is.

    names: of the model's classes. Raises DatasetError where only some of the data's names are among them.
    """
    own = dataset.class_names
    if own is None or dataset.y is None or dataset.labels is not None or not set(own) & set(names):
        return dataset
    unknown = [name for name in own if name not in names]
    if unknown:
        raise DatasetError(
            f"{dataset.name}: the class '{unknown[0]}' is none of the {len(names)} that the model names "
            f"({', '.join(list(names)[:8])}{', …' if len(names) > 8 else ''}); rename it, or give labels as numbers."
        )
    number = np.array([list(names).index(name) for name in own], dtype=np.int64)
    return dataclasses.replace(dataset, y=number[dataset.y], class_names=tuple(names))
