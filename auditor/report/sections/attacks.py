"""Attacks against each other: what each alone leaves standing, and what it cost."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from auditor.report.blocks import Block, Figure, Paragraph, Section, Table
from auditor.report.figures import heat_map
from auditor.report.numbers import count, duration, percent
from auditor.report.schema import Report


def section(report: Report) -> Section:
    blocks: list[Block] = []
    if report.diagnosis.attacks:
        n = len(report.diagnosis.subsample)
        blocks.append(
            Paragraph(
                f"Each attack alone, on a random subsample of {n} examples that are right when clean: the share left "
                "standing. The cascade, in which they follow each other, is what the curves show."
            )
        )
    for curve in report.curves:
        alone = [row for row in report.diagnosis.attacks if row["norm"] == curve.norm]
        if alone:
            blocks.append(_heat_map(curve.norm, alone))
    blocks.append(_costs(report))
    return Section("attacks", "Attacks and their cost", tuple(blocks))


def _heat_map(norm: str, alone: Sequence[Mapping[str, Any]]) -> Figure:
    rows = [
        {"row": row["attack"], "column": eps, "accuracy": accuracy}
        for row in alone
        for eps, accuracy in zip(row["eps"], row["accuracy"], strict=True)
    ]
    order = [row["attack"] for row in alone]
    eps = list(alone[0]["eps"])
    alt = f"Heat map of {len(order)} attacks by {len(eps)} eps in {norm}: the accuracy that each attack alone leaves."
    return Figure(
        f"attacks-{norm}", partial(heat_map, rows, order, eps, "eps"), alt, f"{norm}: left standing by each alone"
    )


def _costs(report: Report) -> Table:
    rows = tuple(
        (
            stage.norm,
            stage.attack,
            stage.access,
            count(stage.tried),
            count(stage.broken),
            count(stage.forwards),
            count(stage.backwards),
            duration(stage.seconds),
        )
        for stage in report.stages
    )
    passes = sum(stage.forwards + stage.backwards for stage in report.stages)
    caption = (
        f"In order. {count(passes)} passes in all, {count(round(passes / report.clean.total))} per example; "
        f"{percent(_refuted(report))} of what attacks claimed was refuted by the model itself."
    )
    heads = ("norm", "attack", "sees", "tried", "broken or nearer", "forwards", "backwards", "time")
    return Table(heads, rows, caption, frozenset(range(3, 8)))


def _refuted(report: Report) -> float:
    claims = sum(stage.claims for stage in report.stages)
    return sum(stage.refuted for stage in report.stages) / claims if claims else 0.0
