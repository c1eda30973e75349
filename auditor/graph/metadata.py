"""What exporters write beside a graph: the names of its classes."""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

_KEYS = ("names", "class_names", "classes", "labels", "id2label", "label_map", "label_names")
_LONGEST = 1 << 20  # characters of an entry that are looked at


def class_names(model: onnx.ModelProto, classes: int) -> tuple[str, ...]:
    """The name of each class by its number, where an entry of metadata_props tells all of them; else empty.

    Read are lists, mappings from numbers to names or the other way round, in JSON or as Python writes them, and names with
    commas or on lines of their own.
    """
    entries = {entry.key.lower(): entry.value for entry in model.metadata_props}
    for key in _KEYS:
        if key in entries and len(entries[key]) <= _LONGEST:
            names = _listed(_value(entries[key]), classes)
            if names:
                return names
    return ()


def _value(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return [part.strip() for part in (text.splitlines() if "\n" in text.strip() else text.split(","))]


def _listed(value: Any, classes: int) -> tuple[str, ...]:
    """The names in the order of their numbers, empty unless each of the classes has one of its own."""
    if isinstance(value, Mapping):
        by_number = {str(number): name for number, name in value.items()}
        if set(by_number) != {str(number) for number in range(classes)}:
            by_number = {str(number): name for name, number in value.items()}
        value = [by_number.get(str(number)) for number in range(classes)]
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != classes:
        return ()
    names = tuple(str(name) for name in value if name is not None)
    return names if len(set(names)) == classes else ()
