"""Text from users as a reader can be shown it: of bounded length, and without characters that reorder or hide others."""

import dataclasses
import unicodedata
from typing import Any

from auditor.report.blocks import Code, Document

_LONGEST = 600  # characters of a name or a sentence
# Control, format (bidirectional overrides …), unassigned, private, surrogates, line and paragraph separators.
_HIDDEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def legible(document: Document) -> Document:
    """The document with every text made legible; charts and pictures stay as they are."""
    made: Document = _legible(document)
    return made


def legible_text(text: str) -> str:
    """Hidden characters as their code in brackets; what is too long is cut in the middle, with an ellipsis."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    return "".join(c if unicodedata.category(c) not in _HIDDEN else f"[U+{ord(c):04X}]" for c in text)


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return legible_text(value)
    if isinstance(value, tuple):
        return tuple(map(_legible, value))
    if isinstance(value, Code):
        lines = (legible_text(line) for line in value.text.splitlines())
        return Code("\n".join(lines))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: _legible(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    return value
