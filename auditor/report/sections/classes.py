"""Class by class: who pays for the accuracy, and what is taken for what."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np

from auditor.audits.design import Design
from auditor.report.blocks import Block, Figure, Section, Table
from auditor.report.figures import class_bars, confusion
from auditor.report.focus import Focus, focuses
from auditor.report.numbers import count, percent
from auditor.report.schema import Report

_DRAWN = 25
_CROSSED = 12
_PAIRS = 15
_WORST = 10  # groups


def section(report: Report) -> Section | None:
    """Of a model that gives several labels at once only the groups, None without any."""
    blocks: list[Block] = []
    if report.model.labels is not None:
        for focus in focuses(report)[:2]:
            blocks += _groups(report, focus)
        return Section("classes", "Group by group", tuple(blocks)) if blocks else None
    for focus in focuses(report)[:2]:
        blocks += [_bars(report, focus), *_groups(report, focus), *_confused(report, focus)]
    return Section("classes", "Class by class", tuple(blocks))


def _bars(report: Report, focus: Focus) -> Figure:
    label, outcomes, design = np.array(report.dataset.label), focus.outcomes, report.dataset.design
    standing = outcomes.standing(focus.point.eps)
    classes = [(name, label == name) for name in np.unique(label).tolist()]
    rows = [_bar(name, outcomes.right[own], standing[own], design.rows(own)) for name, own in classes]
    rows.sort(key=lambda row: row["robust"])
    worst, shown = rows[0], rows[:_DRAWN]
    said = f"worst class {worst['class']}: {percent(worst['robust'])} of its {worst['examples']} examples"
    of = f" The {_DRAWN} worst of {len(rows)} classes." if len(rows) > _DRAWN else ""
    return Figure(
        _name("classes", focus),
        partial(class_bars, shown, [row["class"] for row in shown]),
        f"Accuracy per class at {focus.name}; {said}.",
        f"Clean (light) and robust accuracy (dark, with its 95 % interval) at {focus.name}; {said}.{of}",
    )


def _name(what: str, focus: Focus) -> str:
    """Of a figure: one norm may have several epsilons that matter."""
    return f"{what}-{focus.curve.norm}-{focus.point.eps.replace('/', '-')}"


def _bar(name: int, right: np.ndarray, standing: np.ndarray, design: Design) -> dict[str, Any]:
    limits = {"lower": design.lower(standing), "upper": design.upper(standing)}
    shares = {"clean": design.share(right), "robust": design.share(standing), **limits}
    return {"class": str(name), "examples": len(standing), **shares}


def _groups(report: Report, focus: Focus) -> list[Block]:
    """The groups of which the least is left, where examples have groups."""
    if report.dataset.group is None:
        return []
    design, group, outcomes = report.dataset.design, np.array(report.dataset.group), focus.outcomes
    standing, rows = outcomes.standing(focus.point.eps), []
    for name in np.unique(group).tolist():
        own = design.rows(group == name)
        rows.append((own.share(standing[group == name]), own.share(outcomes.right[group == name]), name))
    sizes = Counter(report.dataset.group)
    rows.sort(key=lambda row: (row[0], -sizes[row[2]], row[2]))
    shown = tuple(
        (name, count(sizes[name]), percent(clean), percent(robust)) for robust, clean, name in rows[:_WORST]
    )
    title = f"The groups of which the least is left at {focus.name}, of {len(rows)}"
    return [Table(("group", "examples", "clean", "robust"), shown, title, frozenset({1, 2, 3}))]


def _confused(report: Report, focus: Focus) -> list[Block]:
    taken = focus.curve.examples.adversarial
    if taken is None:
        return []
    broken = focus.outcomes.right & ~focus.outcomes.standing(focus.point.eps)
    pairs = Counter((report.dataset.label[row], taken[row]) for row in np.flatnonzero(broken).tolist())
    if not pairs:
        return []
    classes = sorted({name for pair in pairs for name in pair if name is not None})
    title = f"What broken examples are taken for at {focus.name}, at their nearest adversarial example"
    if len(classes) > _CROSSED:
        rows = tuple((str(a), str(b), count(n)) for (a, b), n in pairs.most_common(_PAIRS))
        return [Table(("label", "taken for", "examples"), rows, f"{title}: the most frequent", frozenset({2}))]
    sums: Counter[int] = Counter()
    for (label, _), n in pairs.items():
        sums[label] += n
    cells = [
        {"label": str(a), "predicted": str(b), "examples": n, "share": n / sums[a]} for (a, b), n in pairs.items()
    ]
    (most, into), times = pairs.most_common(1)[0]
    alt = f"Confusion under attack; most often {most} is taken for {into}, {times} times."
    chart = partial(confusion, cells, [str(name) for name in classes])
    return [Figure(_name("confusion", focus), chart, alt, title)]
