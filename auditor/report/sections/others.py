"""Threats that have no curve, and how the transfer attacks' surrogates came about."""

from collections.abc import Mapping
from typing import Any

from auditor.report.blocks import Block, Section, Table
from auditor.report.numbers import count, interval, percent
from auditor.report.schema import Report


def section(report: Report) -> Section | None:
    """None where there are neither."""
    blocks: list[Block] = []
    if report.other_threats:
        rows = tuple((_said(o.threat), percent(o.accuracy), interval(o.interval)) for o in report.other_threats)
        blocks.append(Table(("threat", "accuracy", "95 % interval"), rows, numeric=frozenset({1, 2})))
    if report.surrogates:
        surrogates = tuple(
            (s.name, s.sha256[:16], "–" if s.queries is None else count(s.queries), percent(s.agreement))
            for s in report.surrogates
        )
        heads = ("surrogate", "sha256", "queries", "agrees with the model")
        blocks.append(Table(heads, surrogates, "Whose gradients the transfer attacks followed", frozenset({2, 3})))
    return Section("others", "Other threats", tuple(blocks)) if blocks else None


def _said(threat: Mapping[str, Any]) -> str:
    """A threat's name and its parameters."""
    kind = str(threat.get("kind") or threat.get("name") or "threat")
    rest = [f"{key} {value}" for key, value in threat.items() if key not in ("kind", "name") and value is not None]
    return ", ".join([kind, *rest])
