"""What an audit knows of its examples."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.domain import Box, check_values
from auditor.errors import DatasetError
from auditor.spec import Normalisation

_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Dataset:
    """Labelled or unlabelled examples, decoded only when they are fetched.

    name: of the file or folder, for messages and the report.
    sha256: digest of the content, the same for a folder and its zip, for an `.npz` and its `.npy` pair.
    shape: of one example, in the model's layout.
    y: (size,) int64, or None without labels. labels: where each example has several labels at once, of how many its y is a
    set (see `auditor.graph.labelset`), and class_names are theirs; None where y are classes. class_names: the name of each class index, where the data name them.
    domain: the box that `fetch` keeps, in its own units; None where the user declared that there is none.
    implied_domain: the domain the data themselves imply (eight-bit data do), None for values in unknown units.
    normalisation: declared mean and std, which come after the attack and which `fetch` has not applied.
    preprocessing: everything that was done to reach these values, ready for JSON; "steps" holds what changes values.
    columns: what else was asked for of each example, by name, (size, ...) each as it is stored.
    attacked: the shape of the input that is attacked, where what other inputs are given follows it in each example; no domain holds
    for that.
    weight: (size,) float64 from 0, what each example counts for, None where all count alike; group: (size,) of text, the name of
    each example's group, whose members are not independent of each other, None where all are.
    """

    name: str
    sha256: str
    size: int
    shape: tuple[int, ...]
    y: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    domain: Box | None
    implied_domain: Box | None
    normalisation: Normalisation | None
    preprocessing: Mapping[str, Any]
    labels: int | None = field(default=None, kw_only=True)
    decode: Callable[[NDArray[np.int64]], NDArray[np.float32]] = field(repr=False, compare=False)
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    attacked: tuple[int, ...] | None = None
    weight: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    group: NDArray[np.str_] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size == 0:
            raise DatasetError(f"{self.name} holds no examples: an audit needs at least one.")
        if self.y is not None and len(self.y) != self.size:
            raise DatasetError(
                f"{self.name} holds {self.size} examples but {len(self.y)} labels: give one label per example."
            )
        for name, values in self.columns.items():
            if len(values) != self.size:
                raise DatasetError(
                    f"{self.name} holds {self.size} examples but {len(values)} values of '{name}': give one for each."
                )

    def fetch(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """The examples at the positions `index` (n,), as (n, *shape) float32 inside the domain.

        Values up to a millionth of the domain's width outside it, which rounding leaves, are clipped. Raises
        DatasetError for values that are not finite or outside the domain, and for what cannot be decoded.
        """
        index = np.asarray(index, dtype=np.int64)
        if index.size and not (index.min() >= 0 and index.max() < self.size):
            raise DatasetError(
                f"{self.name} has examples 0 to {self.size - 1}; "
                f"positions {int(index.min())} to {int(index.max())} were asked for."
            )
        x = self.decode(index)
        return x if self.attacked is not None else check_values(x, index, self.domain, self.name)


def digest_arrays(*arrays: NDArray[Any] | None) -> str:
    """SHA-256 over dtype, shape and values of each array, whatever file held them, a few rows at a time."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none\n")
            continue
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        row_bytes = max(1, array[:1].nbytes)
        rows = max(1, _CHUNK_BYTES // row_bytes)
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return digest.hexdigest()
