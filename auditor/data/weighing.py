"""What each example counts for, and which examples belong together."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.errors import DatasetError


def weighed(dataset: Dataset, weights: str | None, groups: str | None) -> Dataset:
    """The dataset with its weights and groups, out of those of its columns; the names of these become part of what is said of
    its source. Raises DatasetError for weights that are none, and for missing groups."""
    named = {kind: column for kind, column in (("weights", weights), ("groups", groups)) if column is not None}
    preprocessing = dataset.preprocessing
    return dataclasses.replace(
        dataset,
        preprocessing={**preprocessing, "source": {**preprocessing["source"], **named}},
        weight=None if weights is None else _weights(dataset.columns[weights], weights, dataset.name),
        group=None if groups is None else _groups(dataset.columns[groups], groups, dataset.name),
    )


def _weights(values: NDArray[Any], column: str, name: str) -> NDArray[np.float64]:
    where = f"{name}: the weight in '{column}' of example"
    if values.ndim != 1 or values.dtype.kind not in "biufU":
        raise DatasetError(f"{name}: '{column}' is {_described(values)}, not one weight per example.")
    numbers = np.array([_number(text) for text in values]) if values.dtype.kind == "U" else values.astype(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers >= 0))
    if wrong.any():
        first = int(wrong.argmax())
        raise DatasetError(f"{where} {first} is {values[first]}; give a number from 0, such as 1.")
    if not numbers.any():
        raise DatasetError(f"{name}: the weights in '{column}' are all 0, so that no example counts.")
    return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _groups(values: NDArray[Any], column: str, name: str) -> NDArray[np.str_]:
    if values.ndim != 1 or values.dtype.kind not in "biufU":
        raise DatasetError(f"{name}: '{column}' is {_described(values)}, not the name of each example's group.")
    missing = np.isnan(values) if values.dtype.kind == "f" else np.char.strip(values.astype(str)) == ""
    if missing.any():
        raise DatasetError(
            f"{name}: example {int(missing.argmax())} has no group in '{column}' ({int(missing.sum())} have none); name "
            "one for each, its own where it belongs to no other."
        )
    return values.astype(str)


def _described(values: NDArray[Any]) -> str:
    return f"an array of shape {values.shape} and type {values.dtype}"
