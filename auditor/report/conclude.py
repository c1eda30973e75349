"""The last work item of an audit: from what the slices found to the report and its files."""

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor import __version__, runtime
from auditor.attacks.cascade import Progress
from auditor.attacks.transfer.train import Trained
from auditor.attacks.votes import DRAWS, NEEDED
from auditor.audits import finish
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.crossings import crossed
from auditor.audits.diagnosis import diagnose
from auditor.audits.gates import Baseline, GateResult, findings, regression_gates, robust_gate
from auditor.audits.goal import goal_of
from auditor.audits.other_figures import against_curves, other_figures
from auditor.audits.other_sections import OtherFigures
from auditor.audits.others import load_results, other_items
from auditor.audits.outcomes import Outcomes
from auditor.audits.planted import planted
from auditor.audits.prepare import Prepared
from auditor.audits.rules import policy_gates, waived
from auditor.audits.run import WorkItem, alone, slices
from auditor.audits.subject import Subject
from auditor.audits.summary import Clean, Curve, clean, curve, finite
from auditor.graph.upload import Upload
from auditor.report.document import build_report
from auditor.report.exhibits import Exhibits, choose, is_image
from auditor.report.files import write_adversarial, write_outcomes, write_report
from auditor.report.pages import write_pages
from auditor.report.schema import Report
from auditor.spec import AuditSpec, Norm
from auditor.threats.catalogue import KINDS
from auditor.threats.corruptions import image_libraries


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
    curves = [curve(found, grey_levels=levels, target=spec.target) for found in outcomes]
    diagnosis = diagnose(subject, prepared, checkpoints, finished, outcomes)
    beside = other_items(prepared)
    results = load_results(checkpoints, beside)
    # Beside the norms any wrong class counts, so that with a target there is nothing to compare.
    if spec.target is None:
        contradictions = against_curves(prepared, subject.others, beside, results, outcomes, subject.space)
        diagnosis["checks"] += [check.as_json() for check in contradictions]
    accuracy = clean(prepared.right)
    gates = _gates(spec, prepared, circumstances, curves, accuracy, outcomes, diagnosis["checks"])
    others = other_figures(prepared, subject.others, beside, results)
    report = build_report(
        audit=_audit(subject, prepared, circumstances),
        model=_model(subject, prepared),
        dataset=_dataset(subject, prepared),
        clean=accuracy,
        curves=curves,
        stages=_stages(prepared, items, finished, seconds, spec),
        diagnosis=diagnosis,
        gates=gates,
        other_threats=others,
        surrogates=_surrogates(subject, prepared.trained),
        not_tested=[
            *_not_tested(subject, prepared, outcomes, finished, circumstances),
            *_not_tested_beside(subject, prepared, others, max((r.halvings for r in results.values()), default=0)),
        ],
    )
    adversarial: dict[Norm, dict[str, np.ndarray]] = {
        t.norm: finish.adversarial(prepared, t.norm, items, finished) for t in spec.threats
    }
    write_adversarial(folder / "adversarial.npz", adversarial, subject.dataset.shape, subject.dataset.fetch)
    write_outcomes(folder / "outcomes.parquet", prepared.label, prepared.predicted, outcomes, target=prepared.target)
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
    return Exhibits(choose(adversarial, dataset.fetch, known), layout, dataset.domain)


def _audit(subject: Subject, prepared: Prepared, circumstances: Circumstances) -> dict[str, Any]:
    spec = subject.spec
    fingerprint = runtime.fingerprint(spec.device)
    return {
        "id": circumstances.id,
        "seed": spec.seed,
        "preset": spec.preset,
        "spec_sha256": spec.sha256,
        "spec": spec.model_dump(mode="json"),
        "plan": prepared.plan.as_json(),
        "fingerprint": fingerprint,
        "started_at": circumstances.started_at,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": spec.device,
        "versions": {
            "auditor": __version__,
            "python": platform.python_version(),
            **_versions(fingerprint),
            **(image_libraries() if subject.others else {}),
        },
    }


def _versions(fingerprint: Mapping[str, str]) -> dict[str, str]:
    return {name: fingerprint[name] for name in ("onnxruntime", "numpy")}


def _model(subject: Subject, prepared: Prepared) -> dict[str, Any]:
    upload = subject.upload
    return {
        "name": subject.name,
        "sha256": upload.sha256,
        "opset": upload.opset,
        "operators": upload.operators,
        "parameters": upload.parameters,
        "classes": upload.classes,
        "input": {
            "name": upload.input,
            "type": upload.input_type,
            "shape": list(upload.input_shape),
            "layout": upload.layout,
            "scores": upload.scores,
            **_beside(upload),
        },
        "gradient": prepared.gradient.as_json(),
        "randomness": _randomness(prepared, subject.spec) if subject.drawn else None,
        "refusal": _refusal(upload, prepared) if upload.refused else None,
    }


def _beside(upload: Upload) -> dict[str, Any]:
    """The columns of a table whose inputs they are, what inputs beside the attacked one are given, and the input of tokens
    whose embedding is attacked, where there are any."""
    tokens = None if upload.embedding is None else upload.embedding.tokens.name
    held = {value.input: value.value for _, value in upload.given.held if value.input != tokens}
    facts = {"columns": list(upload.given.names), "held": held, "tokens": tokens}
    return {name: told for name, told in facts.items() if told}


def _randomness(prepared: Prepared, spec: AuditSpec) -> dict[str, Any]:
    """How a model was attacked and judged where chance plays a part."""
    return {
        "transformations": [str(transformation) for transformation in spec.eot],
        "averaged": prepared.plan.stages[0].draws,
        "draws": DRAWS,
        "needed": NEEDED,
        "unanimous": int(np.sum(prepared.confidence == 1)),
        "expected_accuracy": prepared.expected_accuracy,
    }


def _refusal(upload: Upload, prepared: Prepared) -> dict[str, Any]:
    """How a model refuses, and how often it does so when clean."""
    refused = np.isin(prepared.predicted, upload.refused)
    return {
        "abstain": upload.abstain,
        "detector": None if upload.detector is None else upload.detector.model_dump(mode="json"),
        "answers": list(upload.refused),
        "refused": int(np.sum(refused)),
        "accuracy_of_accepted": finite(np.mean(prepared.right[~refused])) if not refused.all() else None,
    }


def _dataset(subject: Subject, prepared: Prepared) -> dict[str, Any]:
    dataset, spec = subject.dataset, subject.spec
    fixed = spec.target if isinstance(spec.target, int) else None
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "examples": dataset.size,
        "domain": dataset.domain,
        "sampling": {
            "method": "simple random sample without replacement" if _is_sample(subject, prepared) else "all",
            "seed": spec.seed,
            "labels": "dataset" if prepared.labelled else "the model's own answers (stability)",
            "left_out": None if fixed is None else f"examples of class {fixed}, the target",
            "preprocessing": dataset.preprocessing,
        },
        "index": prepared.index.tolist(),
        "label": prepared.label.tolist(),
        "predicted": prepared.predicted.tolist(),
        "confidence": [finite(share) for share in prepared.confidence.tolist()],
        "target": None if prepared.target is None else prepared.target.tolist(),
        "digest": list(prepared.digests),
    }


def _is_sample(subject: Subject, prepared: Prepared) -> bool:
    dataset, target = subject.dataset, subject.spec.target
    could_be = dataset.size if dataset.y is None or target is None else int(np.sum(dataset.y != target))
    return len(prepared.index) < could_be


def _surrogates(subject: Subject, trained: Trained | None) -> list[dict[str, Any]]:
    if trained is not None:
        digest = hashlib.sha256(trained.model).hexdigest()
        facts = {"queries": trained.queries, "agreement": trained.agreement}
        return [{"name": "trained for this audit", "sha256": digest, **facts}]
    return [
        {"name": name, **named.model_dump(mode="json")}
        for name, named in zip(subject.surrogate_names, subject.spec.surrogates, strict=True)
    ]


def _stages(
    prepared: Prepared,
    items: Sequence[WorkItem],
    finished: Mapping[str, Progress],
    seconds: Mapping[str, list[float]],
    spec: AuditSpec,
) -> list[dict[str, Any]]:
    rows = []
    for position, stage in enumerate(prepared.plan.stages):
        done = [name for name in (i.name for i in items) if position < len(getattr(finished.get(name), "rows", ()))]
        on_slices = [finished[name].rows[position] for name in done]
        rows.append(
            {
                "attack": stage.name,
                "norm": stage.norm,
                "access": prepared.gradient.seen_by(stage),
                **{
                    count: sum(getattr(row, count) for row in on_slices)
                    for count in ("tried", "broken", "claims", "refuted", "forwards", "backwards")
                },
                "seconds": sum(seconds[name][position] for name in done),
                **crossed(stage, on_slices, spec),
            }
        )
    return rows


def _not_tested(
    subject: Subject,
    prepared: Prepared,
    outcomes: Sequence[Outcomes],
    finished: Mapping[str, Progress],
    circumstances: Circumstances,
) -> list[str]:
    said = []
    if circumstances.stopped:
        said.append(f"the audit ended early: {circumstances.stopped}; unfinished examples enter as bounds")
    for found in outcomes:
        unfinished = int(np.sum(~found.complete))
        if unfinished:
            said.append(f"{found.threat.norm}: not every planned stage ran on {unfinished} of {len(found)} examples")
    if subject.spec.target is not None:
        said.append(f"any class but the target, which is easier to reach: {goal_of(subject.spec.target)}")
    searched = any(stage.access == "structure" for stage in prepared.plan.stages)
    if prepared.gradient.access != "white-box" and not searched:
        said.append(f"white-box attacks: {prepared.gradient.why}")
    if subject.upload.has_trees and not searched:
        said.append(f"a search of the trees that the model is made of: {subject.trees_left_out}")
    halvings = prepared.halvings + max((row.halvings for p in finished.values() for row in p.rows), default=0)
    if halvings:
        said.append(
            f"memory ran out and the batch was halved {halvings} times: this run is not bit-reproducible by another"
        )
    if prepared.randomised and not subject.upload.random:
        said.append("repetition: the model's scores are random, so that another run finds other points")
    if all(found.certified_radius is None for found in outcomes):
        said.append("no lower bound was proved: certificates are not part of this audit")
    accesses = {stage.access for stage in prepared.plan.stages}
    said += [f"{access}-based attacks" for access in ("score", "decision") if access not in accesses]
    if "transfer" not in accesses:
        said.append("transfer attacks, which follow another model (--surrogate, --attack transfer)")
    if subject.spec.quantize is None and subject.dataset.implied_domain is not None:
        said.append("inputs in whole grey levels: points found may lie between them (--quantize 8)")
    if subject.upload.independent:
        said.append(
            "each label by itself: every class has a Sigmoid of its own, and the largest was taken for the answer"
        )
    if subject.upload.embedding is not None:
        said.append(
            f"the tokens themselves: the embedding output '{subject.upload.input}' was attacked and points judged by the model cut "
            "there, so that they are no words"
        )
    if subject.spec.fix:
        said.append(f"other values of the inputs that are held: {', '.join(map(str, subject.spec.fix))}")
    if len(subject.dataset.shape) == 1 and subject.spec.constraints is None:
        said.append("what features may be: points found may be impossible as rows of a table (--constraints)")
    return said


def _not_tested_beside(
    subject: Subject, prepared: Prepared, others: Sequence[OtherFigures], halvings: int
) -> list[str]:
    """The same of threats beside the norms."""
    said = []
    for threat in subject.others:
        if threat.name not in (*prepared.plan.others, *prepared.plan.whole):
            said.append(f"{threat.name}, which follows gradients: {prepared.gradient.why}")
        elif threat.name not in (figures.threat["name"] for figures in others):
            said.append(f"{threat.name}: the audit ended before it")
    for figures in others:
        if figures.unfinished:
            said.append(f"{figures.threat['name']}: {figures.unfinished} of {len(prepared.index)} examples")
    if halvings:
        said.append(
            f"memory ran out {halvings} times under threats beside the norms: this run is not bit-reproducible by another"
        )
    tested = {threat.kind for threat in subject.others}
    left_out = [f"{what} (--also {word})" for kind, (what, word) in KINDS.items() if kind not in tested]
    said += ["beside the norms: " + ", ".join(left_out)] if left_out else []
    said.append("patches")
    said.append("poisoning, model extraction and privacy attacks")
    return said
