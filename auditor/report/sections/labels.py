"""Label by label, of a model that decides about several at once: which decisions hold, and which are the first to fall."""

import numpy as np

from auditor.graph.labelset import decode
from auditor.report.blocks import Block, Paragraph, Section, Table
from auditor.report.focus import Focus, focuses
from auditor.report.naming import called
from auditor.report.numbers import count, percent
from auditor.report.schema import Report

_SHOWN = 53
_SETS = 10
_JOINT = (
    "An example is right where every label's decision is (exact match), and broken where any is not. Each row below counts what "
    "the nearest adversarial example of each broken example changes; another one may change another label."
)


def section(report: Report) -> Section | None:
    """None of a model that gives one class."""
    if report.model.labels is None:
        return None
    blocks: list[Block] = [Paragraph(_JOINT)]
    for focus in focuses(report)[:2]:
        blocks += [_each(report, focus), *_most(report, focus)]
    return Section("labels", "Label by label", tuple(blocks))


def _each(report: Report, focus: Focus) -> Table:
    """One row per label, the most often changed first."""
    assert report.model.labels is not None
    labels = int(report.model.labels["count"])
    label, answer, broken = _sets(report, focus)
    found = np.array([sets or 0 for sets in focus.curve.examples.adversarial or ()], np.int64)
    own, clean, taken = (decode(np, sets, labels) for sets in (label, answer, found))
    changed = broken[:, None] & (taken != own)
    order = np.argsort(-changed.sum(axis=0), kind="stable")
    rows = tuple(
        (
            called(report.model, 1 << k)[1:-1],
            count(int(own[:, k].sum())),
            percent(report.dataset.design.share(own[:, k] == clean[:, k])),
            count(int((changed[:, k] & own[:, k]).sum())),
            count(int((changed[:, k] & ~own[:, k]).sum())),
        )
        for k in order.tolist()[:_SHOWN]
    )
    heads = ("label", "examples that have it", "clean decisions right", "taken away", "added")
    title = f"What the nearest adversarial examples within {focus.name} change, of {count(int(broken.sum()))} broken"
    return Table(heads, rows, title, frozenset({1, 2, 3, 4}))


def _most(report: Report, focus: Focus) -> list[Block]:
    """The changes of whole sets that are the most frequent."""
    label, _, broken = _sets(report, focus)
    found = focus.curve.examples.adversarial or []
    pairs: dict[tuple[int, int], int] = {}
    for row in np.flatnonzero(broken).tolist():
        pair = int(label[row]), int(found[row] or 0)
        pairs[pair] = pairs.get(pair, 0) + 1
    most = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_SETS]
    rows = tuple((called(report.model, a), called(report.model, b), count(n)) for (a, b), n in most)
    title = f"What broken examples are taken for at {focus.name}: the most frequent"
    return [Table(("labels", "taken for", "examples"), rows, title, frozenset({2}))] if rows else []


def _sets(report: Report, focus: Focus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each example's labels, the model's when clean, and whether it is broken here."""
    outcomes = focus.outcomes
    label, answer = (np.array(sets, np.int64) for sets in (report.dataset.label, report.dataset.predicted))
    return label, answer, outcomes.right & ~outcomes.standing(focus.point.eps)
