"""Figures that only the page has, drawn as the report's are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from auditor import resources
from auditor.operations.trend import Step, shared
from auditor.report.blocks import Figure
from auditor.report.drawing import svg
from auditor.report.figures import compared_curves, version_trend
from auditor.report.numbers import percent
from auditor.spec import exact

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


def comparison(compared: resources.Comparison, names: Sequence[str]) -> list[Drawn]:
    """One figure per norm. names: of the two audits."""
    return [_compared(compared, norm, names) for norm in dict.fromkeys(point.norm for point in compared.points)]


def _compared(compared: resources.Comparison, norm: str, names: Sequence[str]) -> Drawn:
    points = [("0", 0.0, compared.clean_accuracy)]
    points += [(p.eps, float(exact(p.eps)), p.robust_accuracy) for p in compared.points if p.norm == norm]
    rows = [
        {"audit": name, "eps": eps, "value": value, "robust": accuracy}
        for eps, value, accuracies in points
        for name, accuracy in zip(names, accuracies, strict=True)
    ]
    alt = f"Robust accuracy of both audits in {norm}; the table below has its numbers."
    return _drawn(Figure(f"compared-{norm}", compared_curves(rows, names, norm), alt, norm))


def _drawn(figure: Figure) -> Drawn:
    return Drawn(figure, {figure.name: _svg(json.dumps(figure.chart))})


@lru_cache(maxsize=64)
def _svg(chart: str) -> str:
    return svg(json.loads(chart))
