"""Threats that have no curve, and how the transfer attacks' surrogates came about."""

from collections.abc import Sequence
from functools import partial

from auditor.audits.other_sections import OtherFigures
from auditor.report.blocks import Block, Figure, Section, Table
from auditor.report.figures import heat_map
from auditor.report.numbers import count, interval, percent
from auditor.report.schema import Report

_HEADS = ("threat", "right under all", "95 % interval", "mean of settings", "worst setting")


def section(report: Report) -> Section | None:
    """None where there are neither."""
    blocks: list[Block] = []
    if report.other_threats:
        rows = tuple(_row(threat) for threat in report.other_threats)
        caption = (
            "Right under all: the share of all examples that are right when clean and at every point of every setting that "
            "was tried. Mean of settings: accuracy over the settings, as the literature on corruptions reports it."
        )
        blocks += [Table(_HEADS, rows, caption, frozenset({1, 2, 3})), *_severities(report.other_threats)]
    if report.surrogates:
        surrogates = tuple(
            (s.name, s.sha256[:16], "–" if s.queries is None else count(s.queries), percent(s.agreement))
            for s in report.surrogates
        )
        heads = ("surrogate", "sha256", "queries", "agrees with the model")
        blocks.append(Table(heads, surrogates, "Whose gradients the transfer attacks followed", frozenset({2, 3})))
    return Section("others", "Other threats", tuple(blocks)) if blocks else None


def _row(threat: OtherFigures) -> tuple[str, ...]:
    worst = min(threat.settings, key=lambda setting: setting.accuracy, default=None)
    said = "–"
    if worst is not None:
        said = f"{percent(worst.accuracy)} at " + ", ".join(
            f"{name} {value}" for name, value in worst.setting.items()
        )
    return (
        str(threat.threat["name"]),
        percent(threat.accuracy),
        interval(threat.interval),
        percent(threat.mean_accuracy),
        said,
    )


def _severities(threats: Sequence[OtherFigures]) -> list[Block]:
    rows = [
        {"row": threat.threat["name"], "column": str(one.setting["severity"]), "accuracy": one.accuracy}
        for threat in threats
        for one in threat.settings
        if "severity" in one.setting
    ]
    if not rows:
        return []
    names, columns = (list(dict.fromkeys(row[key] for row in rows)) for key in ("row", "column"))
    alt = f"Heat map of {len(names)} corruptions by severity: accuracy of all examples."
    chart = partial(heat_map, rows, names, columns, "severity")
    return [Figure("corruptions", chart, alt, "Accuracy under each corruption by severity")]
