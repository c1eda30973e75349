"""Datasets of tokens as the embeddings that a model looks up for them."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.errors import DatasetError


def embedded(dataset: Dataset, table: NDArray[np.float32]) -> Dataset:
    """The same examples, (length,) whole numbers each, as rows of the table, (length, width). table: (words, width)

    `fetch` raises DatasetError for numbers that are no row of it; negative ones count from its end, as in ONNX.
    """
    words, width = table.shape

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        tokens = dataset.decode(index)
        known = (tokens == np.round(tokens)) & (tokens >= -words) & (tokens < words)
        if not known.all():
            row = int(np.argmin(known.all(axis=1)))
            raise DatasetError(
                f"{dataset.name}: the example at position {int(index[row])} holds {tokens[row][~known[row]][0]:g}, which is no "
                f"token: the model's table has the rows 0 to {words - 1}."
            )
        return table[tokens.astype(np.int64)]

    steps = [*dataset.preprocessing["steps"], {"step": "embed", "words": words, "width": width}]
    return dataclasses.replace(
        dataset,
        shape=(*dataset.shape, width),
        preprocessing={**dataset.preprocessing, "steps": steps},
        decode=decode,
    )
