"""An audit in this process, with its files in one folder: the command line's way."""

import datetime
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from auditor.audits.checkpoints import Folder
from auditor.audits.layout import checkpoints_of
from auditor.audits.others import OtherStep, other_items, run_others
from auditor.audits.planted import PlantedEngines, planted, run_planted
from auditor.audits.prepare import prepare_once
from auditor.audits.probes import run_probes
from auditor.audits.run import Engine, Step, alone, run_stages, slices
from auditor.errors import OutOfTime
from auditor.report.conclude import Circumstances, conclude
from auditor.report.schema import Report
from auditor.request import Asked, Request


@dataclass(frozen=True)
class Finished:
    """A report and where its files are."""

    report: Report
    folder: Path
    interrupted: bool


def audit(request: Request, asked: Asked, watch: Callable[[Step | OtherStep], None]) -> Finished:
    """Prepare, attack and conclude, resuming from what the output folder holds.

    Finished stages are kept under OUT/.auditor/DIGEST as they come. An interruption or a spent time budget ends the
    attack early, and the report then holds what is known, as bounds; the same request goes on from there.
    """
    subject = asked.subject
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    budget = subject.spec.budget
    checkpoints = checkpoints_of(subject.spec, Folder(request.out / ".auditor" / subject.sha256))
    stop_at = None if budget.seconds is None else time.monotonic() + budget.seconds
    prepared = prepare_once(subject, checkpoints, allow_chance=request.allow_chance)
    engine = Engine(subject, prepared, stop_at=stop_at)
    stopped, interrupted = None, False
    try:
        for items in (slices(prepared), alone(prepared, subject.spec.seed)):
            for step in run_stages(engine, items, checkpoints):
                watch(step)
        for step in run_probes(engine, checkpoints):
            watch(step)
        for other in run_others(engine, other_items(prepared), checkpoints):
            watch(other)
        engines = PlantedEngines(subject, prepared)
        for item in planted(prepared, subject.spec):
            for step in run_planted(engine, engines, item, checkpoints):
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
        pictures=request.pictures,
    )
    report = conclude(subject, prepared, checkpoints, circumstances, request.out)
    return Finished(report, request.out, interrupted)
