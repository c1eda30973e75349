"""The figures, each defined once as a Vega-Lite chart: drawn as SVG in reports, interactive on the web page.

Charts name no colour for text, axes and grid: whoever draws them says on what ground they stand (`on_ground`).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from auditor.audits.summary import Curve

BLUE, ORANGE, GREEN, GREY, PURPLE = "#3b7dd8", "#d9822b", "#2e9e6b", "#8a8f98", "#9a5bc0"
WIDTH, HEIGHT = 560, 230
_SHARE = {"format": "%"}
_DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [1, 4]]  # so that lines are not told apart by colour alone
_SHADES = {"domain": [0, 1], "range": ["#eef3fa", "#2f5f9e"], "interpolate": "rgb"}


@cache
def _altair() -> Any:
    """altair, imported with the first chart: that takes longer than the start of a worker, which may never draw one."""
    import altair
    from altair.utils import schemapi

    # The charts are fixed and drawn by the tests; that altair checks each against its schema took a fifth of a report's time.
    # Channels are objects for the same reason: of a string or a dictionary altair looks for the class among all that it has.
    schemapi.DEBUG_MODE = False
    return altair


def _data(rows: Sequence[Mapping[str, Any]]) -> Any:
    return _altair().Data(values=list(rows))


def robustness_curve(curve: Curve, *, clean: float, constant: float) -> dict[str, Any]:
    """Robust accuracy over eps with its interval, the simultaneous band, certified accuracy where there is one, and the
    accuracy of the best constant answer, which no eps takes away."""
    alt = _altair()
    start = {"eps": "0", "value": 0.0, "robust": clean, "lower": None, "upper": None, "low": None, "high": None}
    rows = [start]
    for point in curve.points:
        (lower, upper), (low, high) = point.interval, point.band
        rows.append(
            {
                "eps": point.eps,
                "value": point.value,
                "robust": point.robust_accuracy,
                "certified": point.certified_accuracy,
                "lower": lower,
                "upper": upper,
                "low": low,
                "high": high,
            }
        )
    x = alt.X("value:Q", title=f"eps, {curve.norm}", scale=alt.Scale(nice=False))
    y = alt.Y("robust:Q", title="accuracy", axis=_SHARE, scale=alt.Scale(domain=[0, 1]))
    tips = [
        alt.Tooltip("eps:N", title="eps"),
        alt.Tooltip("robust:Q", title="robust accuracy", format=".1%"),
        alt.Tooltip("lower:Q", title="from", format=".1%"),
        alt.Tooltip("upper:Q", title="to", format=".1%"),
    ]
    base = alt.Chart(_data(rows)).encode(x=x)
    layers = [
        base.transform_filter("datum.low != null")
        .mark_area(opacity=0.12, color=BLUE)
        .encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        base.transform_filter("datum.lower != null")
        .mark_area(opacity=0.28, color=BLUE)
        .encode(y=alt.Y("lower:Q"), y2=alt.Y2("upper:Q")),
        base.mark_line(color=BLUE, strokeWidth=2).encode(y=y),
        _nearest(base.mark_point(color=BLUE, filled=True, opacity=1).encode(y=y, tooltip=tips)),
        alt.Chart(_data([{"constant": constant}]))
        .mark_rule(color=GREY, strokeDash=[4, 4])
        .encode(y=alt.Y("constant:Q")),
    ]
    if any(point.certified_accuracy is not None for point in curve.points):
        layers.append(base.mark_line(color=GREEN, strokeWidth=2, point=True).encode(y=alt.Y("certified:Q")))
    return _sized(alt.layer(*layers))


def heat_map(
    rows: Sequence[Mapping[str, Any]], order: Sequence[str], columns: Sequence[str], title: str
) -> dict[str, Any]:
    """Accuracies in a grid, such as what each attack leaves at each eps. rows: row, column, accuracy; title: of columns."""
    alt = _altair()
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("column:O", sort=list(columns), title=title, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("row:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=240, labelPadding=4)),
        tooltip=[
            alt.Tooltip("row:N", title="under"),
            alt.Tooltip("column:O", title=title),
            alt.Tooltip("accuracy:Q", title="left standing", format=".1%"),
        ],
    )
    cells = base.mark_rect().encode(color=alt.Color("accuracy:Q", scale=_SHADES, legend=None))
    dark = _on_shades("datum.accuracy > 0.5")
    texts = base.mark_text(fontSize=10).encode(text=alt.Text("accuracy:Q", format=".0%"), color=dark)
    return _sized(cells + texts, height=22 * len(order))


def class_bars(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    """Clean and robust accuracy of each class. rows: class, clean, robust, lower, upper."""
    alt = _altair()
    base = alt.Chart(_data(rows)).encode(y=alt.Y("class:N", sort=list(order), title="class"))
    share = alt.Scale(domain=[0, 1])
    tips = [
        alt.Tooltip("class:N"),
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("clean", "robust", "lower", "upper")),
    ]
    layers = [
        base.mark_bar(color=BLUE, opacity=0.25).encode(
            x=alt.X("clean:Q", title="accuracy", axis=_SHARE, scale=share), tooltip=tips
        ),
        base.mark_bar(color=BLUE, size=8).encode(x=alt.X("robust:Q", scale=share), tooltip=tips),
        base.mark_rule(color=GREY).encode(x=alt.X("lower:Q"), x2=alt.X2("upper:Q")),
    ]
    return _sized(alt.layer(*layers), height=max(60, 20 * len(order)))


def distance_histogram(distances: Sequence[float], median: float | None, norm: str) -> dict[str, Any]:
    """How the smallest distances that were found are spread; a line at the median over all examples."""
    alt = _altair()
    values = np.asarray(distances, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    ends = (low, high) if low < high else (0.0, 2 * high)
    counts, edges = np.histogram(values, bins=min(30, max(5, len(values) // 8)), range=ends)
    rows = [
        {"from": float(low), "to": float(high), "examples": int(n)}
        for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    bars = (
        alt.Chart(_data(rows))
        .mark_bar(color=BLUE, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("from:Q", title=f"smallest distance found, {norm}", bin="binned", scale=alt.Scale(nice=False)),
            x2=alt.X2("to:Q"),
            y=alt.Y("examples:Q", title="examples"),
            tooltip=[
                alt.Tooltip("from:Q", format=".4g"),
                alt.Tooltip("to:Q", format=".4g"),
                alt.Tooltip("examples:Q"),
            ],
        )
    )
    if median is None:
        return _sized(alt.layer(bars), height=150)
    rule = alt.Chart(_data([{"median": median}])).mark_rule(color=ORANGE, strokeWidth=2).encode(x=alt.X("median:Q"))
    return _sized(bars + rule, height=150)


def confusion(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Which class the examples of each class end in. rows: label, predicted, examples."""
    alt = _altair()
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("predicted:N", sort=list(classes), title="class under attack", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("label:N", sort=list(classes), title="label"),
        tooltip=[alt.Tooltip(name) for name in ("label:N", "predicted:N", "examples:Q")],
    )
    cells = base.mark_rect().encode(color=alt.Color("share:Q", scale=_SHADES, legend=None))
    dark = _on_shades("datum.share > 0.5")
    texts = base.mark_text(fontSize=10).encode(text=alt.Text("examples:Q"), color=dark)
    side = 24 * len(classes)
    return _sized(cells + texts, height=side, width=min(WIDTH, int(side * 1.6)))


def confidence_histogram(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How sure the model is: when clean and right, and at its nearest adversarial examples. rows: kind, from, to, share."""
    alt = _altair()
    chart = (
        alt.Chart(_data(rows))
        .mark_bar(opacity=0.75)
        .encode(
            x=alt.X("from:Q", title="confidence", bin="binned", axis=_SHARE, scale=alt.Scale(domain=[0, 1])),
            x2=alt.X2("to:Q"),
            y=alt.Y("share:Q", title="examples", axis=_SHARE),
            color=alt.Color("kind:N", scale=alt.Scale(range=[ORANGE, BLUE]), legend=None),
            row=alt.Row("kind:N", title=None, header=alt.Header(labelAnchor="start", labelOrient="top")),
        )
    )
    return _sized(chart, height=80)


def compared_curves(rows: Sequence[Mapping[str, Any]], order: Sequence[str], norm: str) -> dict[str, Any]:
    """Robust accuracy of several audits over eps, in one norm. rows: audit, eps, value, robust."""
    alt = _altair()
    colour, dash = _apart("audit:N", order)
    x = alt.X("value:Q", title=f"eps, {norm}", scale=alt.Scale(nice=False))
    y = alt.Y("robust:Q", title="accuracy", axis=_SHARE, scale=alt.Scale(domain=[0, 1]))
    tips = [alt.Tooltip("audit:N"), alt.Tooltip("eps:N"), alt.Tooltip("robust:Q", title="accuracy", format=".1%")]
    base = alt.Chart(_data(rows)).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, opacity=1).encode(tooltip=tips)
    return _sized(base.mark_line(strokeWidth=2).encode(strokeDash=dash) + _nearest(points))


def version_trend(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    """Robust accuracy of a model's versions with its interval, at the same points. rows: version, point, robust, lower,
    upper; order: of the points."""
    alt = _altair()
    return _trend(alt.X("version:O", title="version", axis=alt.Axis(labelAngle=0)), rows, order)


def audit_trend(
    rows: Sequence[Mapping[str, Any]], order: Sequence[str], audits: Sequence[str], title: str
) -> dict[str, Any]:
    """The same of audits in a given order. rows: audit, point, robust, lower, upper; title: of the axis of audits."""
    alt = _altair()
    axis = alt.Axis(labelAngle=0, labelLimit=WIDTH // len(audits))
    return _trend(alt.X("audit:O", title=title, sort=list(audits), axis=axis), rows, order)


def _trend(x: Any, rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    alt = _altair()
    colour, dash = _apart("point:N", order)
    base = alt.Chart(_data(rows)).encode(x=x, color=colour)
    y = alt.Y("robust:Q", title="robust accuracy", axis=_SHARE, scale=alt.Scale(domain=[0, 1]))
    lines = base.mark_line().encode(y=y, strokeDash=dash)
    tips = [
        alt.Tooltip(x.shorthand),
        alt.Tooltip("point:N"),
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("robust", "lower", "upper")),
    ]
    points = _nearest(base.mark_point(filled=True, opacity=1).encode(y=y, tooltip=tips))
    return _sized(base.mark_rule(opacity=0.5).encode(y=alt.Y("lower:Q"), y2=alt.Y2("upper:Q")) + lines + points)


def _nearest(points: Any) -> Any:
    """Points of which the one nearest to the pointer grows, where there is a pointer; its tooltip needs no aiming."""
    alt = _altair()
    nearest = alt.selection_point(name="nearest", on="pointerover", clear="pointerout", nearest=True, empty=False)
    size = alt.SizeValue(36, condition={"param": "nearest", "value": 140, "empty": False})
    return points.encode(size=size).add_params(nearest)


def _on_shades(dark: str) -> Any:
    """The colour of a text on a cell; dark: the test of whether the cell is."""
    return _altair().ColorValue("#1b1f24", condition={"test": dark, "value": "#ffffff"})


def _apart(field: str, order: Sequence[str]) -> tuple[Any, Any]:
    alt = _altair()
    legend = alt.Legend(title=None, orient="top", labelLimit=400, symbolType="stroke", symbolSize=400)
    colours = alt.Scale(domain=list(order), range=[BLUE, ORANGE, GREEN, GREY, PURPLE][: len(order)])
    dashes = alt.Scale(domain=list(order), range=_DASHES[: len(order)])
    return alt.Color(field, scale=colours, legend=legend), alt.StrokeDash(field, scale=dashes, legend=legend)


def _sized(chart: Any, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(width=width, height=height).to_dict(validate=False)
    return spec


def on_ground(ink: str, font: str) -> dict[str, Any]:
    """The Vega-Lite config for a ground: ink is the colour of text and axes, such as #1b1f24 or currentColor."""
    lines = {"gridColor": ink, "gridOpacity": 0.13, "domainColor": ink, "tickColor": ink}
    axis = {
        "labelColor": ink,
        "titleColor": ink,
        "titleFontWeight": "normal",
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
    }
    return {
        "background": None,
        "font": font,
        "view": {"stroke": None},
        "axis": {**lines, **axis, "labelFontSize": 11, "titleFontSize": 12},
        "header": {"labelColor": ink, "titleColor": ink},
        "legend": {"labelColor": ink, "titleColor": ink},
    }
