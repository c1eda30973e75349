"""Fitting stored examples to a model's input shape without changing a value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from auditor.errors import DatasetError
from auditor.spec import Layout

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Arrangement:
    """apply: (n, *stored) -> (n, *shape). steps: what it does, for the report; empty when nothing is done."""

    shape: tuple[int, ...]
    steps: tuple[dict[str, Any], ...]
    apply: Callable[[NDArray[Any]], NDArray[Any]]


def arrange(stored: tuple[int, ...], shape: Shape | None, layout: Layout | None, name: str) -> Arrangement:
    """How examples of shape `stored` become the model's `shape` (None entries are free).

    In this order: as they are; an axis of length 1 added or dropped; channels moved first or last; flat rows cut into
    images or images laid flat. Raises DatasetError naming both shapes when none fits.
    """
    if shape is None or _fits(stored, shape):
        return Arrangement(stored, (), lambda x: x)
    for candidate in _with_or_without_a_unit_axis(stored):
        if _fits(candidate, shape):
            return _reshape(stored, candidate)
    if len(stored) == 3:
        for order, moved in (((2, 0, 1), "channels first"), ((1, 2, 0), "channels last")):
            permuted = tuple(stored[axis] for axis in order)
            if _fits(permuted, shape) and _agrees(moved, layout):
                return _permute(stored, permuted, order)
    known = tuple(side for side in shape if side is not None)
    if len(known) == len(shape) and prod(known) == prod(stored) and (_is_flat(known) or _is_flat(stored)):
        return _reshape(stored, known)
    raise DatasetError(
        f"{name} holds examples of shape {_text(stored)}, but the model's input takes {_text(shape)}: "
        "convert the examples, or give the data this model was made for."
    )


def channel_axis(shape: Shape, layout: Layout | None) -> int:
    """The channel axis (0 or 2) of an image shape of three axes: as `layout` says, else the one that is 1 or 3 long.

    Raises DatasetError when neither tells.
    """
    if layout is not None:
        return 0 if layout == "NCHW" else 2
    first, last = shape[0] in (1, 3), shape[2] in (1, 3)
    if first == last:
        raise DatasetError(
            f"The model's input shape {_text(shape)} does not tell where its channels are: declare --layout NCHW "
            "(channels first) or --layout NHWC (channels last)."
        )
    return 0 if first else 2


def _fits(stored: tuple[int, ...], shape: Shape) -> bool:
    return len(stored) == len(shape) and all(
        wanted in (None, side) for side, wanted in zip(stored, shape, strict=True)
    )


def _with_or_without_a_unit_axis(stored: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    yield (1, *stored)
    yield (*stored, 1)
    for axis, side in enumerate(stored):
        if side == 1:
            yield stored[:axis] + stored[axis + 1 :]


def _agrees(moved: str, layout: Layout | None) -> bool:
    return layout is None or (layout == "NCHW") == (moved == "channels first")


def _is_flat(shape: tuple[int, ...]) -> bool:
    return sum(side != 1 for side in shape) <= 1


def _reshape(stored: tuple[int, ...], shape: tuple[int, ...]) -> Arrangement:
    step = {"step": "reshape", "from": list(stored), "to": list(shape)}
    return Arrangement(shape, (step,), lambda x: x.reshape(len(x), *shape))


def _permute(stored: tuple[int, ...], shape: tuple[int, ...], order: tuple[int, ...]) -> Arrangement:
    step = {"step": "transpose", "from": list(stored), "to": list(shape)}
    axes = (0, *(axis + 1 for axis in order))
    return Arrangement(shape, (step,), lambda x: x.transpose(axes))


def _text(shape: Shape) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
