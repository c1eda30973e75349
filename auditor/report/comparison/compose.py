"""From a comparison to the document that HTML, PDF and the page show."""

from collections.abc import Iterator, Sequence
from functools import partial

from auditor.audits.gates import verdict
from auditor.report.blocks import Block, Document, Figure, Items, Notice, Paragraph, Section, Table, Tone
from auditor.report.comparison.schema import AuditPoint, ComparedAudit, ComparisonReport, PairedPoint, Transfer
from auditor.report.figures import audit_trend, compared_curves
from auditor.report.legible import legible
from auditor.report.numbers import count, interval, percent
from auditor.spec import Norm

_LINES = 4
_SAYS: dict[str, tuple[str, Tone]] = {
    "failed": ("Lost more than is tolerated", "bad"),
    "inconclusive": ("Inconclusive", "unsure"),
    "passed": ("Lost no more than is tolerated", "good"),
    "none": ("Compared", "plain"),
}
_WHAT = (
    "Net loss is the share of the paired examples that stand in the first audit and not in the other, less the share that "
    "stand only in the other; a negative one is a gain. Examples are paired by the digest of input and label. The interval "
    "holds with 95 % for its point alone (Tango's score interval; unfinished examples widen it). McNemar's p is exact; a "
    "large one is no proof that nothing was lost. Holm's p is the same, adjusted for all points of this comparison."
)
_JUDGED = "The outcome is a gate's, all points together under Holm's correction, so that its limits are wider than the interval."
_TRANSFER = (
    "The nearest adversarial example that was found for each example, given to the other model as it is. It counts where "
    "that model's own file gives another class for it, as everywhere; such points lie next to the boundary of the model "
    "that they were found for, so that few of them passing over says little, and many says that the boundaries nearly "
    "coincide. The last column is the target's robust accuracy once these points count beside its own attacks': where it is "
    "lower, the target's own attacks were too weak."
)


def compose(comparison: ComparisonReport) -> Document:
    """The whole document."""
    said, tone = _SAYS[_verdict(comparison)]
    first, *others = [audit.name for audit in comparison.audits]
    sections = (_summary(comparison), _curves(comparison), _trend(comparison), _transfer(comparison.transfer))
    document = Document(
        title=f"{', '.join(others)} compared with {first}",
        subtitle=f"{len(comparison.audits)} audits, {comparison.made_at[:10]}",
        headline=said,
        tone=tone,
        reason="; ".join(map(largest_loss, [_of(comparison, name) for name in others])),
        sections=tuple(section for section in sections if section is not None),
        footer=f"auditor · audits {', '.join(audit.audit for audit in comparison.audits)}",
    )
    return legible(document)


def largest_loss(points: Sequence[PairedPoint]) -> str:
    """One audit's points -> the one at which it lost most, in a sentence."""
    worst = max(points, key=lambda point: point.net_loss)
    where = f"{worst.norm} {worst.eps}"
    if worst.net_loss <= 0:
        return f"{worst.audit} nowhere lost more than it gained"
    return (
        f"{worst.audit} lost most at {where}: {percent(worst.net_loss)} net ({worst.lost} lost, {worst.gained} gained of "
        f"{worst.paired}, Holm's p {worst.holm_p:.2g})"
    )


def _verdict(comparison: ComparisonReport) -> str:
    return verdict([point.gate for point in comparison.points if point.gate is not None])


def _of(comparison: ComparisonReport, audit: str) -> list[PairedPoint]:
    return [point for point in comparison.points if point.audit == audit]


def _summary(comparison: ComparisonReport) -> Section:
    heads = ("audit", "model", "dataset", "attacked by", "clean accuracy", "examples", "paired")
    rows = tuple(_row(audit) for audit in comparison.audits)
    blocks: list[Block] = [Notice(f"{entry.name} is left out: {entry.why}.", "bad") for entry in comparison.left_out]
    blocks += remarks(comparison)
    blocks.append(Table(heads, rows, "The first is what the others are compared with", frozenset({4, 5, 6})))
    return Section("summary", "What is compared", tuple(blocks))


def _row(audit: ComparedAudit) -> tuple[str, ...]:
    model = f"{audit.model}, sha256 {audit.model_sha256[:12]}"
    shares = (percent(audit.clean.accuracy), count(audit.examples), count(audit.paired))
    return audit.name, model, audit.dataset, ", ".join(audit.access), *shares


def remarks(comparison: ComparisonReport) -> Iterator[Notice]:
    """What a reader of the figures must know of how the audits differ."""
    first, *others = comparison.audits
    for audit in others:
        if audit.access != first.access:
            yield Notice(
                f"{audit.name} was attacked by {', '.join(audit.access)}, {first.name} by {', '.join(first.access)}: "
                "weaker access finds less, so that part of a difference can be the attacks'."
            )
        if audit.paired < max(audit.examples, first.examples):
            yield Notice(
                f"{audit.name} and {first.name} share {count(audit.paired)} examples of {count(audit.examples)} and "
                f"{count(first.examples)}; net losses are about these alone.",
                "plain",
            )
    for audit in comparison.audits:
        if audit.doubts:
            yield Notice(f"The diagnosis of {audit.name} doubts its attacks: {', '.join(audit.doubts)}.")


def _curves(comparison: ComparisonReport) -> Section:
    judged = comparison.margin is not None
    blocks: list[Block] = [Paragraph(_WHAT)]
    if comparison.margin is not None:
        blocks.append(Paragraph(f"A net loss of {percent(comparison.margin)} is tolerated. {_JUDGED}"))
    for norm in dict.fromkeys(point.norm for point in comparison.points):
        blocks += [_overlaid(comparison, norm), _table(comparison, norm, judged=judged)]
    return Section("curves", "Point by point", tuple(blocks))


def _overlaid(comparison: ComparisonReport, norm: Norm) -> Figure:
    names = [audit.name for audit in comparison.audits]
    rows = [
        {"audit": audit.name, "eps": "0", "value": 0.0, "robust": audit.clean.accuracy} for audit in comparison.audits
    ]
    points = [point for point in comparison.curves if point.norm == norm]
    rows += [
        {"audit": point.audit, "eps": point.eps, "value": point.value, "robust": point.robust_accuracy}
        for point in points
    ]
    alt = f"Robust accuracy of {len(names)} audits in {norm}; the table below has its numbers."
    return Figure(f"compared-{norm}", partial(compared_curves, rows, names, norm), alt, norm)


def _table(comparison: ComparisonReport, norm: Norm, *, judged: bool) -> Table:
    robust = {(p.audit, p.norm, p.value): p.robust_accuracy for p in comparison.curves}
    rows = []
    points = [point for point in comparison.points if point.norm == norm]
    for point in sorted(points, key=lambda point: point.value):  # stable: the audits stay in their order
        shares = [percent(robust[name, norm, point.value]) for name in (comparison.first.name, point.audit)]
        counts = [count(point.lost), count(point.gained), percent(point.net_loss), interval(point.interval)]
        gate = [f"{point.gate.outcome}, {interval(point.gate.interval)}"] if point.gate is not None else []
        rows.append((point.eps, point.audit, *shares, *counts, _p(point.mcnemar_p), _p(point.holm_p), *gate))
    heads: tuple[str, ...] = (
        "eps",
        "audit",
        "first",
        "this",
        "lost",
        "gained",
        "net loss",
        "95 % interval",
        "McNemar's p",
        "Holm's p",
    )
    heads += ("outcome, and its limits",) if judged else ()
    return Table(heads, tuple(rows), f"Against {comparison.first.name}, {norm}", frozenset({0, *range(2, 10)}))


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _trend(comparison: ComparisonReport) -> Section | None:
    """The audits as steps in the order given; None where two say as much in the figures above."""
    names = [audit.name for audit in comparison.audits]
    if len(names) < 3:
        return None
    chosen = _telling(comparison.curves, names)
    rows = [
        {
            "audit": point.audit,
            "point": f"{point.norm} {point.eps}",
            "robust": point.robust_accuracy,
            "lower": point.interval[0],
            "upper": point.interval[1],
        }
        for point in comparison.curves
        if (point.norm, point.value) in chosen
    ]
    order = list(dict.fromkeys(str(row["point"]) for row in rows))
    said = "; ".join(f"{row['audit']}, {row['point']}: {percent(float(str(row['robust'])))}" for row in rows)
    chart = partial(audit_trend, rows, order, names, "in the order given")
    figure = Figure("trend", chart, f"Robust accuracy. {said}.")
    return Section("trend", "From one to the next", (figure,))


def _telling(curves: Sequence[AuditPoint], names: Sequence[str]) -> set[tuple[Norm, float]]:
    """Per norm the points, in all `_LINES`, where the audits' accuracies are nearest to the middle."""
    norms = list(dict.fromkeys(point.norm for point in curves))
    each = max(1, _LINES // len(norms))

    def away(key: tuple[Norm, float]) -> float:
        return sum(abs(p.robust_accuracy - 0.5) for p in curves if (p.norm, p.value) == key)

    keys = dict.fromkeys((point.norm, point.value) for point in curves if point.audit == names[0])
    return {key for norm in norms for key in sorted((key for key in keys if key[0] == norm), key=away)[:each]}


def _transfer(transfers: Sequence[Transfer]) -> Section | None:
    if not transfers:
        return None
    rows = tuple(
        (
            transfer.source,
            transfer.target,
            f"{transfer.norm} {point.eps}",
            count(point.tried),
            count(point.broken),
            percent(point.broken / point.tried) if point.tried else "–",
            percent(point.robust_accuracy),
            percent(point.with_transferred),
        )
        for transfer in transfers
        for point in transfer.points
    )
    heads = ("found for", "given to", "eps", "given", "broken", "share", "robust accuracy", "with these points")
    table = Table(heads, rows, "Adversarial examples of one model on another", frozenset(range(3, 8)))
    lower = [
        f"{transfer.target} in {transfer.norm}: up to {percent(gap)} lower with the points of {transfer.source}"
        for transfer in transfers
        if (gap := max(point.robust_accuracy - point.with_transferred for point in transfer.points)) > 0
    ]
    blocks = (Paragraph(_TRANSFER), *((Items(tuple(lower)),) if lower else ()), table)
    return Section("transfer", "Adversarial examples exchanged", blocks)
