"""Names that users give: what is accepted, and what is made of it."""

import re
import unicodedata

from auditor.operations.errors import Unacceptable

_LONGEST = 200
_LONGEST_FILENAME = 200  # bytes in UTF-8; file systems take 255, and copies have longer names for a while
_RESERVED = set('/\\@?#%"<>|*:')
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def checked_name(text: str, kind: str) -> str:
    """A name for a model or dataset, in Unicode's normal form C. Raises Unacceptable.

    `@` separates a model's name from its version, so that no name holds it; what looks like an id is one.
    """
    name = unicodedata.normalize("NFC", text)
    if not 0 < len(name) <= _LONGEST:
        raise Unacceptable(f"a {kind}'s name has 1 to {_LONGEST} characters, not {len(name)}")
    bad = sorted({character for character in name if character in _RESERVED or not character.isprintable()})
    if bad or name.startswith(".") or name != name.strip():
        found = ", ".join(map(ascii, bad)) or "a dot or a space at its end"
        raise Unacceptable(
            f"a {kind}'s name cannot hold {found}; use letters, digits, '-', '_', '.' and spaces inside"
        )
    if is_id(name):
        raise Unacceptable(f"'{name}' looks like an id; give the {kind} a name of another form")
    return name


def checked_alias(text: str) -> str:
    """A name for a version, such as prod. Raises Unacceptable."""
    if not _ALIAS.fullmatch(text):
        raise Unacceptable("an alias begins with a letter and has at most 64 letters, digits, '.', '_' and '-'")
    return text


def checked_filename(text: str) -> str:
    """The last part of what a client says that a file is called, without what cannot be shown. Raises Unacceptable
    when nothing is left."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", text))[-1]
    plain = "".join(character for character in last if character.isprintable()).strip().lstrip(".")
    if not plain:
        raise Unacceptable("the file has no name; give one such as model.onnx")
    stem, dot, suffix = plain.rpartition(".")
    ending = f"{dot}{suffix}".encode() if stem and len(suffix) < 20 else b""
    whole = plain.encode()
    kept = whole.removesuffix(ending)[: _LONGEST_FILENAME - len(ending)]
    return kept.decode(errors="ignore") + ending.decode()


def is_id(text: str) -> bool:
    """Whether this is what ids look like."""
    return _ID.fullmatch(text) is not None
