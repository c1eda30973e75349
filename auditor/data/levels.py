"""Datasets whose values are whole levels of their domain."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset
from auditor.data.domain import level_of, level_values
from auditor.errors import DatasetError, SpecError

# How far from a level, in levels, a value is taken for that level: what float32 arithmetic makes of one.
_ROUNDING = 1e-2


def on_levels(dataset: Dataset, bits: int) -> Dataset:
    """The same examples at exactly one of 2^bits evenly spaced levels of the domain in every feature.

    Values within a hundredth of a level are put onto it; `fetch` raises DatasetError for others. Raises SpecError
    where there is no domain, or one whose levels float32 cannot tell apart.
    """
    if dataset.domain is None:
        raise SpecError("--quantize lays its levels between the ends of the domain; declare them with --domain")
    lower, upper = dataset.domain
    values = level_values(dataset.domain, 1 << bits)
    steps = len(values) - 1
    if not (np.diff(values) > 0).all():
        raise SpecError(f"--quantize {bits}: float32 cannot tell 2^{bits} levels of [{lower:g}, {upper:g}] apart")

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        x = dataset.decode(index)
        finite = np.clip(np.where(np.isfinite(x), x, np.float32(lower)), lower, upper)
        snapped = values[level_of(np, finite, (lower, upper), steps)]
        off = np.abs(finite.astype(np.float64) - snapped) > _ROUNDING * (upper - lower) / steps
        rows = off.reshape(len(x), -1).any(axis=1)
        if rows.any():
            row = int(rows.argmax())
            raise DatasetError(
                f"{dataset.name}: the example at position {int(index[row])} holds {x[row][off[row]][0]:g}, which is "
                f"none of the {steps + 1} levels that --quantize {bits} lays into [{lower:g}, {upper:g}]. Give the data "
                "as they were before scaling or filtering, other --quantize or --domain, or leave --quantize out."
            )
        # What is not finite or outside the domain stays, for `fetch` to refuse.
        return np.where(finite == x, snapped, x)

    steps_taken = [*dataset.preprocessing["steps"], {"step": "quantize", "levels": steps + 1}]
    return dataclasses.replace(dataset, preprocessing={**dataset.preprocessing, "steps": steps_taken}, decode=decode)
