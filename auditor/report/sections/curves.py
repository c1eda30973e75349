"""Robust accuracy over eps, norm by norm."""

from functools import partial

from auditor.audits.summary import Curve
from auditor.report.blocks import Block, Figure, Items, Paragraph, Section, Table
from auditor.report.figures import robustness_curve
from auditor.report.focus import constant_accuracy
from auditor.report.numbers import interval, percent, size
from auditor.report.schema import Report

_NAMED = 2
_WHAT = (
    "Robust accuracy is the share of all examples that are right when clean and for which these attacks found no "
    "adversarial example within eps. It is an upper bound: a stronger attack may lower it. Dark band: 95 % interval of "
    "each point; light band: holds all points of the curve together; dashed: the best constant answer."
)


def section(report: Report) -> Section:
    blocks: list[Block] = [Paragraph(_WHAT)]
    constant = constant_accuracy(report.dataset)
    for curve in report.curves:
        blocks += _curve(curve, report.clean.accuracy, constant)
    return Section("curves", "Robustness curves", tuple(blocks))


def _curve(curve: Curve, clean: float, constant: float) -> list[Block]:
    first, last, median = curve.points[0], curve.points[-1], curve.median_distance.value
    alt = (
        f"Robust accuracy in {curve.norm} falls from {percent(clean)} when clean to {percent(first.robust_accuracy)} at "
        f"eps {first.eps} and {percent(last.robust_accuracy)} at eps {last.eps}."
    )
    caption = curve.norm if median is None else f"{curve.norm}: half of all examples are wrong within {size(median)}"
    chart = partial(robustness_curve, curve, clean=clean, constant=constant)
    figure = Figure(f"curve-{curve.norm}", chart, alt, caption)
    certified = any(point.certified_accuracy is not None for point in curve.points)
    rows = tuple(
        (
            point.eps,
            percent(point.robust_accuracy),
            interval(point.interval),
            interval(point.true_interval),
            *((percent(point.certified_accuracy),) if certified else ()),
            _finders(point.broken_by),
        )
        for point in curve.points
    )
    heads = (
        "eps",
        "robust",
        "95 % interval",
        "true value, 95 %",
        *(("certified",) if certified else ()),
        "broken by",
    )
    table = Table(heads, rows, numeric=frozenset(range(len(heads) - 1)))
    return [figure, table, *([Items(tuple(curve.remarks))] if curve.remarks else [])]


def _finders(broken_by: dict[str, int]) -> str:
    named = [f"{attack} {n}" for attack, n in list(broken_by.items())[:_NAMED]]
    more = len(broken_by) - _NAMED
    return (", ".join(named) + (f", {more} more" if more > 0 else "")) or "–"
