"""A document as data: what a report says, before anybody decides how it looks.

HTML and PDF are made from the same blocks. Text is plain text: whoever renders it escapes it, so that no name that a user
chose can become markup.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["good", "bad", "unsure", "plain"]


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """A sentence that must not be missed."""

    text: str
    tone: Tone = "unsure"


@dataclass(frozen=True)
class Tile:
    """One figure to be seen first: what it is, its value, how sure it is."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """columns: their heads; rows: one text per column; numeric: positions of the columns that hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """define: makes its chart, which costs more than all other blocks and is not wanted by everybody; alt: what it shows,
    for those who cannot see it."""

    name: str
    define: Callable[[], Mapping[str, Any]]
    alt: str
    caption: str = ""

    @property
    def chart(self) -> Mapping[str, Any]:
        """A Vega-Lite specification with its data inside."""
        return self.define()


@dataclass(frozen=True)
class Picture:
    """png: bytes of a PNG; alt and lines say what it is."""

    png: bytes
    alt: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures under one head per column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Code:
    text: str


Block = Paragraph | Items | Notice | Tiles | Facts | Table | Figure | Gallery | Code


@dataclass(frozen=True)
class Section:
    """name: its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """headline: the verdict in a few words, with its tone; sections: the first is the page that is read first."""

    title: str
    subtitle: str
    headline: str
    tone: Tone
    reason: str
    sections: tuple[Section, ...]
    footer: str


def figures_of(document: Document) -> Iterator[Figure]:
    """The figures, from the top."""
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                yield block
