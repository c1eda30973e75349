"""Datasets whose rows keep declared rules."""

import dataclasses
from math import prod

import numpy as np
from numpy.typing import NDArray

from auditor.constraints import Constraints
from auditor.data.dataset import Dataset
from auditor.data.rules import Rules
from auditor.errors import DatasetError


def rules_of(dataset: Dataset, declared: Constraints | None) -> Rules:
    """The rules for a dataset's features, by the names of its columns or by position. Raises SpecError."""
    names = dataset.preprocessing["source"].get("inputs")
    d = prod(dataset.shape)
    if not isinstance(names, list) or len(names) != d:
        names = [str(position) for position in range(d)]
    carried = 0 if dataset.attacked is None else d - prod(dataset.attacked)
    return Rules.of(declared, names, dataset.domain, carried=carried)


def constrained(dataset: Dataset, rules: Rules) -> Dataset:
    """The same dataset; `fetch` raises DatasetError for an example that breaks a rule."""

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        x = dataset.decode(index)
        for position, row in zip(index.tolist(), x.reshape(len(x), -1), strict=True):
            why = rules.broken(row)
            if why is not None:
                raise DatasetError(
                    f"{dataset.name}: the example at position {position} does not keep the declared constraints: {why}. "
                    "Correct the constraints or the data: what occurs cannot be impossible."
                )
        return x

    return dataclasses.replace(dataset, decode=decode)
