"""Datasets whose examples bring along what other inputs of the model are given."""

import dataclasses
import hashlib
from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset, digest_arrays


def carrying(
    dataset: Dataset, features: NDArray[np.float32], names: Sequence[str], words: Sequence[str], *, free: int = 0
) -> Dataset:
    """The same examples laid flat, each with its features (size, d) behind it, which no attack may change but for so many at
    their beginning. names: of the features; words: that text stands for."""
    d = prod(dataset.shape)

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate([dataset.fetch(index).reshape(len(index), d), features[index]], axis=1)

    source = dataset.preprocessing["source"]
    own = source.get("inputs")
    own = own if isinstance(own, list) and len(own) == d else list(map(str, range(d)))
    steps = [*dataset.preprocessing["steps"], {"step": "append", "columns": list(names)}]
    digest = hashlib.sha256("\0".join([dataset.sha256, digest_arrays(features), *names, *words]).encode())
    return dataclasses.replace(
        dataset,
        sha256=digest.hexdigest(),
        shape=(d + features.shape[1],),
        attacked=(d + free,) if free else dataset.shape,
        preprocessing={**dataset.preprocessing, "source": {**source, "inputs": [*own, *names]}, "steps": steps},
        decode=decode,
    )
