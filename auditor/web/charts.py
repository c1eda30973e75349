"""Figures that only the page has, drawn as the report's are."""

import json
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from fastapi import Response

from auditor.operations.errors import NotFound
from auditor.operations.trend import Step, shared
from auditor.report.blocks import Figure
from auditor.report.drawing import compiled, recoloured, svg
from auditor.report.figures import version_trend
from auditor.report.html import FAMILY
from auditor.report.numbers import percent
from auditor.web.pages import part

_LINES = 4
_TYPES = {"json": "application/json", "svg": "image/svg+xml", "dark.svg": "image/svg+xml"}
_INKS = {"svg": "#1b1f24", "dark.svg": "#e8ebee"}  # the style's --ink


def trend(steps: list[Step]) -> Figure | None:
    """Robust accuracy over versions; None with fewer than two."""
    if len(steps) < 2:
        return None
    rows: list[dict[str, Any]] = []
    order = [f"{norm} {eps}" for norm, eps in shared(steps, _LINES)]
    for step in steps:
        for norm, eps in shared(steps, _LINES):
            point = step.points.get((norm, eps))
            if point is not None:
                found = {"robust": point.robust_accuracy, "lower": point.lower, "upper": point.upper}
                rows.append({"version": step.version, "point": f"{norm} {eps}", **found})
    said = "; ".join(f"version {row['version']}, {row['point']}: {percent(row['robust'])}" for row in rows)
    return Figure("trend", partial(version_trend, rows, order), f"Robust accuracy over versions. {said}.")


def address(folder: str, query: str = "") -> Callable[[str, str], str]:
    """Where a page's figures are, by name and format, as the template of blocks asks for it."""
    return lambda name, kind: f"{folder}/figures/{part(name)}.{kind}{query and '?'}{query}"


def answer(figures: Iterable[Figure], file: str) -> Response:
    """One of a page's figures. file: its name and, behind a dot, its format: json for a chart (Vega), svg or dark.svg for a
    drawing on a ground of that kind. Raises NotFound."""
    name, _, kind = file.partition(".")
    found = next((figure for figure in figures if figure.name == name), None)
    if found is None or kind not in _TYPES:
        raise NotFound(f"there is no figure {file} here")
    return Response(_made(json.dumps(found.chart), kind), media_type=_TYPES[kind])


@lru_cache(maxsize=256)
def _made(chart: str, kind: str) -> str:
    if kind == "json":
        return compiled(json.loads(chart), FAMILY)
    return recoloured(svg(json.loads(chart)), ink=_INKS[kind], family=FAMILY)
