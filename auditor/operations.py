"""What can be asked for; the command line is one way to ask."""

import dataclasses
import datetime
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor import runtime
from auditor.audits import choices
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.gates import Baseline, check_comparable
from auditor.audits.prepare import Prepared, prepare
from auditor.audits.presets import chosen_stages
from auditor.audits.probes import run_probes
from auditor.audits.run import Engine, OutOfTime, Step, alone, run_stages, slices
from auditor.audits.subject import Subject
from auditor.data.dataset import Dataset
from auditor.data.domain import UNDECLARED, Domain
from auditor.data.preprocessing import Preprocessing
from auditor.data.read import read_dataset
from auditor.errors import SpecError
from auditor.graph.file import read_file
from auditor.graph.upload import Upload, read_upload
from auditor.report.conclude import Circumstances, conclude
from auditor.report.document import baseline_of, read_report
from auditor.report.schema import Report
from auditor.spec import AuditSpec, Gate, Layout, build


@dataclass(frozen=True)
class Request:
    """An audit as a user asks for it: paths and whatever was said; the rest is chosen and reported."""

    model: Path
    data: Path
    out: Path
    threat: str | None = None
    norms: tuple[str, ...] = ()
    eps: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    domain: Domain = UNDECLARED
    layout: Layout | None = None
    labels: Path | None = None
    label_column: str | None = None
    preprocessing: Preprocessing | None = None
    baseline: Path | None = None
    margin: float = 0.02
    allow_chance: bool = False
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)  # further fields of AuditSpec


@dataclass(frozen=True)
class Asked:
    """A request with everything settled. chosen: sentences about what was chosen where the request said nothing."""

    subject: Subject
    chosen: tuple[str, ...]
    baseline: Baseline | None = None


@dataclass(frozen=True)
class Finished:
    """A report and where its files are."""

    report: Report
    folder: Path
    interrupted: bool


def read_model(path: Path, **choice: Any) -> Upload:
    """The upload at `path`; ModelError when there is none."""
    return read_upload(read_file(path), **choice)


def settle(request: Request) -> Asked:
    """Read model and data and settle everything that was left open.

    Raises InputError, and DeviceError for a device that is not there. Writes nothing.
    """
    settings = request.settings
    _refuse_unwritable(request.out)
    upload = read_model(
        request.model, input=settings.get("input"), output=settings.get("output"), layout=request.layout
    )
    dataset = read_dataset(
        request.data,
        labels=request.labels,
        shape=upload.input_shape[1:],
        layout=upload.layout,
        domain=request.domain,
        preprocessing=request.preprocessing,
        label_column=request.label_column,
    )
    preset = request.threat or choices.threat_preset(dataset.shape, dataset.domain)
    threats = choices.chosen_threats(preset, request.norms, request.eps, request.gates)
    spec = build(
        AuditSpec,
        threats=threats,
        gates=request.gates,
        domain=dataset.domain,
        normalisation=dataset.normalisation,
        layout=upload.layout,
        **settings,
    )
    chosen_stages(spec)  # unknown attacks are refused before anything is run
    runtime.require(spec.device)
    baseline = None
    if request.baseline is not None:
        baseline = baseline_of(read_report(request.baseline))
        check_comparable(baseline, spec.sha256, [threat.norm for threat in threats])
    return Asked(Subject(request.model.name, upload, dataset, spec), _said(request, spec, preset, dataset), baseline)


def audit(request: Request, asked: Asked, watch: Callable[[Step], None]) -> Finished:
    """Prepare, attack and conclude, resuming from what the output folder holds.

    Finished stages are kept under OUT/.auditor/DIGEST as they come. An interruption or a spent time budget ends the
    attack early, and the report then holds what is known, as bounds; the same request goes on from there.
    """
    subject = asked.subject
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    budget = subject.spec.budget
    checkpoints = Checkpoints(request.out / ".auditor" / subject.sha256, passes=budget.passes)
    stop_at = None if budget.seconds is None else time.monotonic() + budget.seconds
    prepared = Prepared.load(checkpoints)
    if prepared is None:
        prepared = prepare(subject, allow_chance=request.allow_chance)
        prepared.save(checkpoints)
    engine = Engine(subject, prepared, stop_at=stop_at)
    stopped, interrupted = None, False
    try:
        for items in (slices(prepared), alone(prepared, subject.spec.seed)):
            for step in run_stages(engine, items, checkpoints):
                watch(step)
        for step in run_probes(engine, checkpoints):
            watch(step)
    except OutOfTime as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped, interrupted = "it was interrupted", True
    circumstances = Circumstances(
        id=str(uuid.uuid4()),
        started_at=started_at,
        stopped=stopped,
        baseline=asked.baseline,
        margin=request.margin,
    )
    report = conclude(subject, prepared, checkpoints, circumstances, request.out)
    return Finished(report, request.out, interrupted)


def _refuse_unwritable(out: Path) -> None:
    """SpecError where a report could not be written in the end."""
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise SpecError(f"--out {out} cannot be made: {nearest} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SpecError(f"--out {out} cannot be made: {nearest} is not writable; give another folder")


def _said(request: Request, spec: AuditSpec, preset: str, dataset: Dataset) -> tuple[str, ...]:
    said = []
    if not (request.threat or request.norms):
        said.append(f"threat preset '{preset}' (from the input's kind)")
    for threat in spec.threats:
        said.append(f"{threat.norm} eps {', '.join(threat.eps)}")
    said.append(f"{min(spec.examples, dataset.size)} of {dataset.size} examples, sampled with seed {spec.seed}")
    said.append(f"preset '{spec.preset}'" if not spec.attacks else f"attacks {', '.join(spec.attacks)}")
    if dataset.y is None:
        said.append("no labels: the model's own answer serves, and stability is measured")
    return tuple(said)
