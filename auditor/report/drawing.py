"""Vega-Lite charts as SVG, without a browser and without a network."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from auditor.report.blocks import Document, figures_of
from auditor.report.figures import on_ground

FONT = "Inter"
# What a mark says of itself, thousands of times: a figure has its text, and whoever shows a drawing shows it as one picture.
_SPOKEN = re.compile(r' (?:aria-[a-z]+|role)="[^"]*"')
_TAG = re.compile("<[a-z][^>]*>")
INK = "currentColor"  # of text and axes: whoever shows a drawing says which colour that is


def drawings(document: Document) -> dict[str, str]:
    """The SVG of each figure of a document, by its name."""
    return {figure.name: svg(figure.chart) for figure in figures_of(document)}


def svg(chart: Mapping[str, Any]) -> str:
    """The chart as SVG."""
    drawing = str(_converter().vegalite_to_svg(dict(chart), config=on_ground(INK, FONT)))
    return _TAG.sub(lambda tag: _SPOKEN.sub("", tag[0]), drawing)


def compiled(chart: Mapping[str, Any], family: str) -> str:
    """The chart as a Vega specification, in JSON: for a browser to draw, with its own fonts."""
    made = _converter().vegalite_to_vega(dict(chart), config=on_ground(INK, family))
    for mark in made["marks"]:
        if mark.get("name", "").endswith("_voronoi"):
            tooltip = mark["encode"]["update"]["tooltip"]
            # The cell's datum holds the point's, which Vega-Lite forgets for what is no number (seen in 6.4).
            tooltip["signal"] = re.sub(r"(?<!datum\.)datum\[", "datum.datum[", tooltip["signal"])
    return json.dumps(made, separators=(",", ":"))


def recoloured(drawing: str, *, ink: str = INK, family: str = FONT) -> str:
    """The same drawing with another colour for text and axes, and other fonts."""
    drawing = drawing.replace(f'font-family="{FONT}"', f'font-family="{family}"')
    return re.sub(f'"{INK}"', f'"{ink}"', drawing)


def fonts() -> Any:
    """The folder of the fonts that come with the package."""
    return resources.files("auditor.report") / "fonts"


@cache
def _converter() -> Any:
    import vl_convert

    vl_convert.register_font_directory(str(fonts()))
    return vl_convert
