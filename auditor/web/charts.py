"""Figures that only the page has, drawn as the report's are."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

from auditor.operations.trend import Step, shared
from auditor.report.blocks import Figure
from auditor.report.drawing import compiled, recoloured, svg
from auditor.report.figures import version_trend
from auditor.report.html import FAMILY
from auditor.report.numbers import percent

_LINES = 4


@dataclass(frozen=True)
class Drawn:
    """Figures as the template of blocks takes them, by their names: drawings in SVG, and in Vega's JSON the charts that
    take their places where there are scripts."""

    drawings: Mapping[str, str]
    charts: Mapping[str, Markup]  # escaped


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
    return Figure("trend", version_trend(rows, order), f"Robust accuracy over versions. {said}.")


def drawn(figures: Iterable[Figure]) -> Drawn:
    pairs = [(figure.name, json.dumps(figure.chart)) for figure in figures]
    return Drawn(
        {name: recoloured(_svg(chart), family=FAMILY) for name, chart in pairs},
        {name: escape(_vega(chart)) for name, chart in pairs},
    )


@lru_cache(maxsize=256)
def _svg(chart: str) -> str:
    return svg(json.loads(chart))


@lru_cache(maxsize=256)
def _vega(chart: str) -> str:
    return compiled(json.loads(chart), FAMILY)
