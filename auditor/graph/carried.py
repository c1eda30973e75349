"""Inputs whose values come with each example: features behind those of the attacked input that no attack may change.

A row of the table holds them as float32 numbers, of a text the place of its word among all that occur. The upload is given
the values themselves; in the plain graph they are cut out of the row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from auditor.errors import DatasetError, ModelError
from auditor.runtime import Tensor

STRING = "tensor(string)"


@dataclass(frozen=True)
class Carried:
    """One such input. column: of the data; shape: of one example. limits: between which its numbers lie, so that also random
    rows, by which a rewritten graph is proved, ask for nothing that does not occur; words: of text, all that occur."""

    tensor: Tensor
    column: str
    limits: tuple[float, float] = (0.0, 0.0)
    words: tuple[str, ...] = ("",)

    @property
    def shape(self) -> tuple[int, ...]:
        """Raises ModelError where the model leaves it open."""
        sizes = [size for size in self.tensor.shape[1:] if isinstance(size, int) and size >= 0]
        if len(sizes) < len(self.tensor.shape) - 1:
            raise ModelError(
                f"input '{self.tensor.name}' leaves axes open, so that it cannot come with each example; export the model with "
                "a fixed shape"
            )
        return tuple(sizes)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def names(self) -> list[str]:
        """Of its features."""
        return [self.column] if self.size == 1 else [f"{self.column}[{position}]" for position in range(self.size)]

    @property
    def is_text(self) -> bool:
        return self.tensor.type == STRING

    @property
    def is_whole(self) -> bool:
        """Whether its features are whole numbers."""
        return self.is_text or self.tensor.dtype.kind in "biu"

    def filled(self, values: NDArray[Any], name: str) -> tuple["Carried", NDArray[np.float32]]:
        """With what occurs in the data, and the features (N, size). Raises DatasetError naming the first example at fault."""
        if values.shape[1:] != self.shape and (values.ndim != 1 or self.size != 1):
            raise DatasetError(
                f"{name}: '{self.column}' is of shape {values.shape[1:]} per example, and the model's input "
                f"'{self.tensor.name}' takes {self.shape}."
            )
        flat = values.reshape(len(values), -1)
        if self.is_text:
            words, place = np.unique(flat.astype(str), return_inverse=True)
            found = place.reshape(flat.shape).astype(np.float32)
            return replace(self, limits=(0.0, float(len(words) - 1)), words=tuple(words.tolist())), found
        exact = _numbers(flat, self.column, name)
        found = exact.astype(np.float32)
        inexact = self.is_whole and ((found != exact) | (found != np.rint(found)))
        bad = ~np.isfinite(found) | inexact
        if bad.any():
            row = int(bad.any(axis=1).argmax())
            raise DatasetError(
                f"{name}: '{self.column}' of example {row} holds {flat[row][bad[row]][0]}, which the input '{self.tensor.name}' cannot "
                "be given: values are finite, and whole numbers at most 2^24."
            )
        return replace(self, limits=(float(found.min()), float(found.max()))), found

    def opened(self, groups: Sequence[Sequence[str]]) -> "Carried":
        """The same as a `Choice` where a group of columns is of its words: COLUMN=WORD each."""
        mark = f"{self.column}="
        group = next((columns for columns in groups if all(column.startswith(mark) for column in columns)), None)
        if group is None or not self.is_text or self.size != 1:
            return self
        return Choice(self.tensor, self.column, words=tuple(column.removeprefix(mark) for column in group))

    def knowing(self, model: onnx.ModelProto) -> "Carried":
        """Of text, with the words that the model knows there, as far as it tells: what occurs until the data say it."""
        lists = [
            [word.decode("utf-8", "replace") for word in a.strings]
            for node in model.graph.node
            if self.tensor.name in node.input
            for a in node.attribute
            if a.name in ("cats_strings", "keys_strings")
        ]
        if not self.is_text or not lists:
            return self
        return replace(self, limits=(0.0, float(len(lists[0]) - 1)), words=tuple(lists[0]))

    def values(self, features: np.ndarray, batch: int) -> np.ndarray:
        """What the upload is given for (batch, size) features."""
        held = np.clip(features, *np.array(self.limits, np.float32)).reshape(batch, *self.shape)
        if not self.is_text:
            return (np.rint(held) if self.is_whole else held).astype(self.tensor.dtype)
        return np.array(self.words, object)[np.rint(held).astype(np.int64)]

    def nodes(self, features: str, kind: int, batch: int) -> Iterator[onnx.NodeProto]:
        """The same in a graph. features: the name of their value; kind: the type that the input has there."""
        make, low_high = onnx.helper.make_node, np.array(self.limits, np.float32)
        given = {"low": low_high[0], "high": low_high[1], "shape": np.array((batch, *self.shape), np.int64)}
        if self.is_text:
            given["words"] = np.array(self.words, object)
        for name, value in given.items():
            constant = onnx.numpy_helper.from_array(np.asarray(value))
            yield make("Constant", [], [f"{features}/{name}"], value=constant)
        yield make("Clip", [features, f"{features}/low", f"{features}/high"], [f"{features}/held"])
        yield make("Reshape", [f"{features}/held", f"{features}/shape"], [f"{features}/as-held"])
        yield make("Round" if self.is_whole else "Identity", [f"{features}/as-held"], [f"{features}/shaped"])
        if not self.is_text:
            yield make("Cast", [f"{features}/shaped"], [self.tensor.name], to=kind)
            return
        yield make("Cast", [f"{features}/shaped"], [f"{features}/place"], to=onnx.TensorProto.INT64)
        yield make("Gather", [f"{features}/words", f"{features}/place"], [self.tensor.name], axis=0)


@dataclass(frozen=True)
class Choice(Carried):
    """A word per example out of `words`, with a feature for each: 1 for its own and 0 for the others. What the model is given is
    the word with the largest feature. An attack may change it as a category, see `Constraints.groups`."""

    @property
    def size(self) -> int:
        return len(self.words)

    @property
    def names(self) -> list[str]:
        return [f"{self.column}={word}" for word in self.words]

    def filled(self, values: NDArray[Any], name: str) -> tuple["Carried", NDArray[np.float32]]:
        said = values.reshape(len(values), -1)[:, 0].astype(str)
        own = said[:, None] == np.array(self.words)
        if not own.any(axis=1).all():
            row = int(own.any(axis=1).argmin())
            raise DatasetError(
                f"{name}: '{self.column}' of example {row} is '{said[row]}', and no column of its group is "
                f"'{self.column}={said[row]}': name it too."
            )
        return self, own.astype(np.float32)

    def values(self, features: np.ndarray, batch: int) -> np.ndarray:
        return np.array(self.words, object)[np.argmax(features, axis=1)].reshape(batch, *self.shape)

    def nodes(self, features: str, kind: int, batch: int) -> Iterator[onnx.NodeProto]:
        make = onnx.helper.make_node
        for name, value in (
            ("words", np.array(self.words, object)),
            ("shape", np.array((batch, *self.shape), np.int64)),
        ):
            yield make("Constant", [], [f"{features}/{name}"], value=onnx.numpy_helper.from_array(value))
        yield make("ArgMax", [features], [f"{features}/place"], axis=1, keepdims=0)
        yield make("Gather", [f"{features}/words", f"{features}/place"], [f"{features}/word"], axis=0)
        yield make("Reshape", [f"{features}/word", f"{features}/shape"], [self.tensor.name])


def _numbers(values: NDArray[Any], column: str, name: str) -> NDArray[Any]:
    """(N, size) numbers, also where they are written as text."""
    if values.dtype.kind in "biuf":
        return values
    try:
        return values.astype(np.float64)
    except ValueError:
        raise DatasetError(f"{name}: '{column}' holds text, and the model's input takes numbers.") from None
