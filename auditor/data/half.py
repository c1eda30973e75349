"""Datasets as a model that takes float16 sees them."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset


def cast_to_half(dataset: Dataset) -> Dataset:
    """The same examples with every value rounded to float16; `fetch` refuses those that float16 cannot hold."""

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return dataset.decode(index).astype(np.float16).astype(np.float32)

    steps = [*dataset.preprocessing["steps"], {"step": "cast", "to": "float16"}]
    return dataclasses.replace(dataset, preprocessing={**dataset.preprocessing, "steps": steps}, decode=decode)
