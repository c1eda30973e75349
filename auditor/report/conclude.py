"""The last work item of an audit: from what the slices found to the report and its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from auditor.audits import finish
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.design import Design
from auditor.audits.diagnosis import diagnose
from auditor.audits.gates import Baseline, GateResult, findings, regression_gates, robust_gate
from auditor.audits.other_figures import against_curves, other_figures
from auditor.audits.others import load_results, other_items
from auditor.audits.outcomes import Outcomes
from auditor.audits.planted import planted
from auditor.audits.prepare import Prepared
from auditor.audits.rules import policy_gates, waived
from auditor.audits.run import alone, slices
from auditor.audits.subject import Subject
from auditor.audits.summary import Clean, Curve, clean, curve
from auditor.report import facts
from auditor.report.document import build_report
from auditor.report.exhibits import Exhibits, choose, is_image
from auditor.report.files import write_adversarial, write_outcomes, write_report
from auditor.report.limits import not_tested, not_tested_beside
from auditor.report.naming import called
from auditor.report.pages import write_pages
from auditor.report.schema import Report
from auditor.spec import AuditSpec, Norm


@dataclass(frozen=True)
class Circumstances:
    """What belongs in a report without being a result."""

    id: str
    started_at: str
    stopped: str | None = None
    baseline: Baseline | None = None
    margin: float = 0.02
    pictures: bool = True  # whether the pages may show examples of the data


def conclude(
    subject: Subject, prepared: Prepared, checkpoints: Checkpoints, circumstances: Circumstances, folder: Path
) -> Report:
    """Write the audit's files into `folder`, report.json before the pages; unfinished examples enter as bounds."""
    spec = subject.spec
    items, apart = slices(prepared), (*alone(prepared, spec.seed), *planted(prepared, spec))
    stored = {item.name: found for item in (*items, *apart) if (found := checkpoints.load(item.name)) is not None}
    finished = {name: progress for name, (progress, _) in stored.items()}
    seconds = {name: times for name, (_, times) in stored.items()}
    outcomes = finish.outcomes(prepared, spec, items, finished)
    eight_bit = subject.dataset.implied_domain is not None
    levels = 2**spec.quantize - 1 if spec.quantize else 255 if eight_bit else None
    design = subject.design(prepared.index)
    curves = [curve(found, design, grey_levels=levels, target=spec.target) for found in outcomes]
    diagnosis = diagnose(subject, prepared, checkpoints, finished, outcomes)
    beside = other_items(prepared)
    results = load_results(checkpoints, beside)
    # Beside the norms any wrong class counts, so that with a target there is nothing to compare.
    if spec.target is None:
        contradictions = against_curves(prepared, subject.others, beside, results, outcomes, subject.space)
        diagnosis["checks"] += [check.as_json() for check in contradictions]
    accuracy = clean(prepared.right, design)
    gates = _gates(spec, prepared, circumstances, curves, accuracy, outcomes, diagnosis["checks"], design)
    others = other_figures(prepared, subject.others, beside, results, design)
    report = build_report(
        audit=facts.audit(subject, prepared, id=circumstances.id, started_at=circumstances.started_at),
        model=facts.model(subject, prepared),
        dataset=facts.dataset(subject, prepared),
        clean=accuracy,
        curves=curves,
        stages=facts.stages(prepared, items, finished, seconds, spec),
        diagnosis=diagnosis,
        gates=gates,
        other_threats=others,
        surrogates=facts.surrogates(subject, prepared.trained),
        not_tested=[
            *not_tested(subject, prepared, outcomes, finished, stopped=circumstances.stopped),
            *not_tested_beside(subject, prepared, others, max((r.halvings for r in results.values()), default=0)),
        ],
    )
    adversarial: dict[Norm, dict[str, np.ndarray]] = {
        t.norm: finish.adversarial(prepared, t.norm, items, finished) for t in spec.threats
    }
    write_adversarial(folder / "adversarial.npz", adversarial, subject.dataset.shape, subject.dataset.fetch)
    write_outcomes(
        folder / "outcomes.parquet",
        prepared.label,
        prepared.predicted,
        outcomes,
        target=prepared.target,
        weight=report.dataset.weight,
        group=report.dataset.group,
    )
    write_report(folder / "report.json", report)
    write_pages(folder, report, _exhibits(subject, report, adversarial) if circumstances.pictures else None)
    return report


def _gates(
    spec: AuditSpec,
    prepared: Prepared,
    circumstances: Circumstances,
    curves: Sequence[Curve],
    accuracy: Clean,
    outcomes: Sequence[Outcomes],
    checks: Sequence[Mapping[str, Any]],
    design: Design,
) -> list[GateResult]:
    """What the gates named one by one, the baseline and the policy say, in this order."""
    doubts = findings(checks)
    gates = [robust_gate(gate, curves, doubts) for gate in spec.gates]
    if circumstances.baseline is not None:
        # A single declared gate names the primary eps; otherwise Holm's correction covers every point.
        only = spec.gates[0] if len(spec.gates) == 1 else None
        gates += regression_gates(
            circumstances.baseline,
            spec.sha256,
            prepared.digests,
            outcomes,
            margin=circumstances.margin,
            findings=doubts,
            primary=(only.norm, only.eps) if only else None,
            design=design,
        )
    if spec.policy is not None:
        gates = waived([*gates, *policy_gates(spec.policy, curves, accuracy, checks)], spec.policy)
    return gates


def _exhibits(subject: Subject, report: Report, adversarial: Mapping[Norm, Mapping[str, np.ndarray]]) -> Exhibits:
    dataset = subject.dataset
    known = {
        (curve.norm, index): share
        for curve in report.curves
        for index, share in zip(curve.examples.id, curve.examples.confidence or (), strict=False)
        if share is not None
    }
    layout = (subject.spec.layout or "NCHW") if is_image(dataset.shape) else None
    shown = choose(adversarial, dataset.fetch, known)
    return Exhibits(shown, layout, dataset.domain, partial(called, report.model))
