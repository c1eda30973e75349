"""From the reports of several audits to their comparison."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.audits.gates import Baseline, GateResult, findings, judged_losses, paired_losses
from auditor.audits.paired import Loss, pairs
from auditor.audits.statistics import holm_adjusted
from auditor.errors import SpecError
from auditor.report.comparison.schema import (
    MOST,
    AuditPoint,
    ComparedAudit,
    ComparisonReport,
    LeftOut,
    PairedPoint,
    Transfer,
)
from auditor.report.document import baseline_of
from auditor.report.legible import legible_text
from auditor.report.schema import Report
from auditor.spec import exact

# What a specification says beside what can change a result (see `AuditSpec.sha256`).
_NO_RESULT = frozenset({"budget", "gates", "policy"})


@dataclass(frozen=True)
class Named:
    """A report under the name by which the comparison speaks of it."""

    name: str
    report: Report


def compare(
    reports: Sequence[Named],
    *,
    margin: float | None = None,
    left_out: Sequence[LeftOut] = (),
    transfer: Sequence[Transfer] = (),
) -> ComparisonReport:
    """Every report against the first, paired by the digests of input and label.

    margin: the net loss that is tolerated, as a share; each point is then judged like a gate. left_out: what could not be
    audited; reports that cannot be paired with the first come behind them. SpecError where the names are not distinct,
    where there are fewer than two or more than five reports, and where none can be paired with the first.
    """
    if not 2 <= len(reports) <= MOST:
        raise SpecError(f"a comparison is of two to {MOST} audits, not of {len(reports)}")
    if len({named.name for named in reports}) < len(reports):
        raise SpecError("two audits of a comparison have the same name; give each its own")
    first, baseline = reports[0], baseline_of(reports[0].report)
    losses: list[tuple[Named, Loss]] = []
    kept, apart = [first], list(left_out)
    for named in reports[1:]:
        try:
            losses += [(named, loss) for loss in _losses(first, baseline, named)]
            kept.append(named)
        except SpecError as error:
            apart.append(LeftOut(name=named.name, why=str(error)))
    if not losses:
        raise SpecError("; ".join(f"{entry.name} cannot be compared: {entry.why}" for entry in apart))
    return ComparisonReport(
        made_at=max(named.report.audit.finished_at for named in kept),
        margin=margin,
        audits=[_audit(named, baseline.digests) for named in kept],
        left_out=apart,
        curves=[point for named in kept for point in _curves(named)],
        points=_points(losses, margin),
        transfer=list(transfer),
    )


def _losses(first: Named, baseline: Baseline, named: Named) -> list[Loss]:
    """SpecError, in words that say what differs, where the two cannot be paired."""
    before, after = first.report, named.report
    if before.audit.spec_sha256 != after.audit.spec_sha256:
        differing = ", ".join(_differing(before.audit.spec, after.audit.spec)) or "what this version cannot read"
        raise SpecError(
            f"it was asked for with another specification than {first.name} ({differing}), so that a difference need "
            "not be the model's"
        )
    other = baseline_of(after)
    if not set(baseline.digests) & set(other.digests):
        raise SpecError(
            f"it shares no example with {first.name}: the dataset or the labels are others "
            f"({after.dataset.name} and {before.dataset.name})"
        )
    outcomes = [other.outcomes[curve.norm] for curve in after.curves]
    return paired_losses(baseline, other.spec_sha256, other.digests, outcomes, design=other.design)


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> Iterator[str]:
    for name in dict.fromkeys((*one, *other)):
        if name not in _NO_RESULT and one.get(name) != other.get(name):
            yield name


def _audit(named: Named, digests: Sequence[str]) -> ComparedAudit:
    report = named.report
    return ComparedAudit(
        name=named.name,
        audit=report.audit.id,
        model=report.model.name,
        model_sha256=report.model.sha256,
        dataset=report.dataset.name,
        finished_at=report.audit.finished_at,
        access=sorted({stage.access for stage in report.stages}),
        examples=report.clean.total,
        paired=len(pairs(digests, report.dataset.digest)[0]),
        clean=report.clean,
        doubts=findings(check.model_dump() for check in report.diagnosis.checks),
        verdict=report.verdict,
    )


def _curves(named: Named) -> Iterator[AuditPoint]:
    for curve in named.report.curves:
        for point in curve.points:
            yield AuditPoint(
                audit=named.name,
                norm=curve.norm,
                eps=point.eps,
                value=point.value,
                robust_accuracy=point.robust_accuracy,
                interval=point.interval,
            )


def _points(losses: Sequence[tuple[Named, Loss]], margin: float | None) -> list[PairedPoint]:
    adjusted = holm_adjusted(np.array([loss.mcnemar_p for _, loss in losses]))
    gates: Sequence[GateResult | None] = [None] * len(losses)
    if margin is not None:
        doubts = [findings(check.model_dump() for check in named.report.diagnosis.checks) for named, _ in losses]
        gates = judged_losses([loss for _, loss in losses], margin=margin, findings=doubts)
    return [
        PairedPoint(
            audit=named.name,
            norm=loss.norm,
            eps=loss.eps,
            value=float(exact(loss.eps)),
            paired=loss.n,
            lost=loss.observed[0],
            gained=loss.observed[1],
            net_loss=loss.net,
            interval=loss.limits(),
            mcnemar_p=loss.mcnemar_p,
            holm_p=float(p),
            gate=gate,
        )
        for (named, loss), p, gate in zip(losses, adjusted, gates, strict=True)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """The names as a reader can be shown them, those that come more than once with their place: 1: digits, 2: digits."""
    shown = [legible_text(name) for name in names]
    return [f"{place}: {name}" if shown.count(name) > 1 else name for place, name in enumerate(shown, start=1)]
