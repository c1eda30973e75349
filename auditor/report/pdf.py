"""A document as a tagged PDF (PDF/UA-1 where the fonts have every character), set by typst.

The template is fixed and every text reaches it as data, in a JSON file: what users wrote can never become markup.
"""

import base64
import datetime
import json
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import resources
from typing import Any

from auditor.report.blocks import Block, Document, Figure, Gallery, Tiles
from auditor.report.drawing import FONT, fonts, recoloured

_INK = "#1b1f24"
_WIDEST = 690  # units of a drawing that fill a line


def pdf(document: Document, drawings: Mapping[str, str], made_at: datetime.datetime) -> bytes:
    """The whole file; equal documents give equal bytes. drawings: the figures' SVG by name; made_at: the date that the
    file names."""
    import typst

    template = resources.files("auditor.report") / "templates" / "report.typ"
    files: dict[str, bytes] = {"main.typ": template.read_bytes()}
    facts = {
        **{name: value for name, value in vars(document).items() if name != "sections"},
        "font": FONT,
        "sections": [
            {"title": section.title, "blocks": [_plain(block, drawings, files) for block in section.blocks]}
            for section in document.sections
        ],
    }
    files["document.json"] = json.dumps(facts).encode()
    compiled = partial(typst.compile, files, font_paths=[str(fonts())], ignore_system_fonts=True, timestamp=made_at)
    try:
        data = compiled(pdf_standards=["ua-1"])
    except (
        typst.TypstError
    ):  # the standard asks for fonts that have every character: tagged all the same, but not to it
        data = compiled()
    return bytes(data or b"")


def _plain(block: Block, drawings: Mapping[str, str], files: dict[str, bytes]) -> dict[str, Any]:
    """A block in JSON's types; pictures go into files, and their names stay."""
    kind = {"kind": type(block).__name__}
    if isinstance(block, Figure):
        path, drawing = f"{len(files)}.svg", drawings[block.name]
        files[path] = recoloured(drawing, ink=_INK).encode()
        share = min(1.0, float(drawing.partition(' width="')[2].partition('"')[0]) / _WIDEST)
        return {**kind, "path": path, "alt": block.alt, "caption": block.caption, "width": share}
    if isinstance(block, Gallery):
        rows = [[_picture(picture, files) for picture in row] for row in block.rows]
        return {**kind, "columns": block.columns, "rows": rows, "caption": block.caption}
    if isinstance(block, Tiles):
        return {**kind, "tiles": [vars(tile) for tile in block.tiles]}
    return {**kind, **dict(_values(block))}


def _picture(picture: Any, files: dict[str, bytes]) -> dict[str, Any]:
    path = f"{len(files)}.svg"
    files[path] = _wrapped(picture.png)
    return {"path": path, "alt": picture.alt, "lines": picture.lines}


def _wrapped(png: bytes) -> bytes:
    """A PNG inside an SVG: typst's Python binding takes files of text only."""
    width, height = struct.unpack(">II", png[16:24])
    data = base64.b64encode(png).decode()
    image = f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{image}</svg>'.encode()


def _values(block: Block) -> Iterator[tuple[str, Any]]:
    for name, value in vars(block).items():
        yield name, sorted(value) if isinstance(value, frozenset) else value
