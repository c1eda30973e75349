"""Figures that only the page has, drawn as the report's are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from auditor.operations.trend import Step, shared
from auditor.report.blocks import Document, Figure, figures_of
from auditor.report.drawing import svg
from auditor.report.figures import version_trend
from auditor.report.numbers import percent

_LINES = 4


@dataclass(frozen=True)
class Drawn:
    """A figure, and its drawing by its name, as the template of blocks takes them."""

    figure: Figure
    drawings: Mapping[str, str]


def trend(steps: list[Step]) -> Drawn | None:
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
    return _drawn(Figure("trend", version_trend(rows, order), f"Robust accuracy over versions. {said}."))


def drawings(document: Document) -> dict[str, str]:
    """The SVG of each figure of a document, by its name."""
    return {figure.name: _svg(json.dumps(figure.chart)) for figure in figures_of(document)}


def _drawn(figure: Figure) -> Drawn:
    return Drawn(figure, {figure.name: _svg(json.dumps(figure.chart))})


@lru_cache(maxsize=64)
def _svg(chart: str) -> str:
    return svg(json.loads(chart))
