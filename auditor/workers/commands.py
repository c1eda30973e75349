"""What a child can be told to do: check a file, open an audit, and carry out one of its work items."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from auditor import __version__, inspection, options, runtime
from auditor.attacks.progress import Progress
from auditor.audits import finish
from auditor.audits.checkpoints import Checkpoints, Place
from auditor.audits.estimate import estimate
from auditor.audits.layout import checkpoints_of
from auditor.audits.others import OtherItem, OtherStep, other_items, run_others
from auditor.audits.planted import PlantedEngines, PlantedItem, planted, run_planted
from auditor.audits.prepare import Prepared, prepare_once
from auditor.audits.probes import run_probes
from auditor.audits.run import Engine, Step, WorkItem, alone, run_stages, slices
from auditor.audits.summary import clean
from auditor.data.decoding import Here
from auditor.data.look import look
from auditor.errors import AuditorError, OutOfTime
from auditor.report.conclude import Circumstances, conclude
from auditor.report.focus import summary
from auditor.report.schema import Report
from auditor.request import Asked, Request, read_model, settle
from auditor.spec import Held

Facts = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
Tell = Callable[[Facts, Arrays], None]

_COLUMNS = ("distance", "attack", "margin", "complete", "adversarial", "confidence", "forwards", "backwards")
# Words that are never a service's user's to give.
_PATHS = ("model", "data", "baseline", "out", "labels", "preprocessor", "surrogate")


class Commands:
    """Carries out commands, one after another, and keeps what the next one of the same audit needs.

    place: where the audit's checkpoints are kept; tell: is given the facts and arrays of every step.
    """

    def __init__(self, place: Place, tell: Tell) -> None:
        self._place, self._tell = place, tell
        self._opened: _Opened | None = None
        self._known: dict[str, Callable[..., Facts]] = {
            "check-model": self.check_model,
            "check-dataset": self.check_dataset,
            "open": self.open,
            "prepare": self.prepare,
            "attack": self.attack,
            "finish": self.finish,
        }

    def do(self, command: Facts) -> Facts:
        """Carry out {"do": NAME, …}, the other entries being that method's arguments. Raises AuditorError."""
        given = dict(command)
        return self._known[given.pop("do")](**given)

    def check_model(
        self, path: str, name: str, layout: str | None = None, fix: Sequence[str] = (), **declared: Any
    ) -> Facts:
        """The facts of an upload, read as declared; ModelError where it is no classifier that can be audited."""
        held = tuple(map(Held.parse, fix))
        upload = read_model(Path(path), layout=options.layout_of(layout), fix=held, **declared)
        return {"name": name, **inspection.inspect(upload).as_json()}

    def check_dataset(self, path: str, name: str) -> Facts:
        """The facts of a dataset as far as it tells them without a model; DatasetError where it cannot be read."""
        return {"name": name, **look(Path(path))}

    def open(
        self,
        model: str,
        data: str,
        words: Facts,
        baseline: str | None = None,
        threads: int | None = None,
        surrogates: Sequence[Facts] = (),
    ) -> Facts:
        """Settle an audit in place of the one that was open. threads: where the words do not say; surrogates: the path
        of each as `model`, and the words mean and std where they were said of it.

        Its cost is measured only while it is not prepared.
        """
        self._opened = None  # its sessions make room first
        said = {name: value for name, value in words.items() if name not in _PATHS and value is not None}
        paths = {"model": model, "data": data, "baseline": baseline, "out": str(Path.cwd()), "surrogate": surrogates}
        asked_for = options.request({"threads": threads, **said, **paths})
        request = dataclasses.replace(asked_for, decoder=Here())  # this process is limited itself
        asked = settle(request)
        subject, spec = asked.subject, asked.subject.spec
        opened = self._opened = _Opened(request, asked, self._place)
        return {
            "spec": spec.model_dump(mode="json"),
            "spec_sha256": spec.sha256,
            "subject_sha256": subject.sha256,
            "chosen": asked.chosen,
            "estimate": _estimate(asked, Prepared.load(opened.checkpoints)),
            "device": spec.device,
        }

    def prepare(self) -> Facts:
        """Sample, judge the clean examples and plan, unless that is kept already; tells index, label, predicted."""
        opened = self._audit
        prepared, subject = opened.prepared, opened.asked.subject
        arrays = {name: getattr(prepared, name) for name in ("index", "label", "predicted")}
        self._tell({"kind": "prepared"}, arrays)
        facts = {
            "plan": prepared.plan.as_json(),
            "gradient": prepared.gradient.as_json(),
            "clean": clean(prepared.right, subject.design(prepared.index)).model_dump(mode="json"),
            "stages": sum(len(item.stages) for item in opened.items.values())
            + sum(len(item.threats) for item in opened.others.values()),
            "labelled": prepared.labelled,
            "randomised": prepared.randomised,
            "fingerprint": [__version__, runtime.fingerprint(subject.spec.device)],
        }
        return {"examples": len(prepared.index), "items": [*opened.items, *opened.others], "facts": facts}

    def attack(self, item: str, seconds_left: float | None = None) -> Facts:
        """Run what is missing of one work item and tell of all its stages, those found finished included. OutOfTime."""
        opened = self._audit
        opened.engine.stop_at = _stop_at(seconds_left)
        if item in opened.others:
            beside = run_others(opened.engine, [opened.others[item]], opened.kept(_Remembered(self._place)))
            for position, other in enumerate(beside):
                self._tell(_other_stage(other, position, opened.prepared), {})
            return {}
        chosen = opened.items.get(item)
        if chosen is None:
            raise AuditorError(f"the audit has no work item '{item}'")
        kept = opened.kept(_Remembered(self._place))
        if isinstance(chosen, PlantedItem):
            steps = run_planted(opened.engine, opened.planted, chosen, kept)
        else:
            steps = run_stages(opened.engine, [chosen], kept)
        for position, step in enumerate(steps):
            outcomes = _outcomes(opened, chosen, step.progress) if item.startswith("slice-") else {}
            self._tell(_stage(opened, step, position), outcomes)
        return {}

    def finish(
        self,
        id: str,
        started_at: str,
        out: str,
        stopped: str | None = None,
        margin: float = 0.02,
        pictures: bool = True,
        seconds_left: float | None = None,
    ) -> Facts:
        """Run the diagnosis' probes, unless the audit was stopped, and write the report and its files into `out`."""
        opened = self._audit
        if stopped is None:
            opened.engine.stop_at = _stop_at(seconds_left)
            try:
                for _ in run_probes(opened.engine, opened.checkpoints):
                    pass
            except OutOfTime as error:
                stopped = str(error)
        circumstances = Circumstances(id, started_at, stopped, opened.asked.baseline, margin, pictures)
        report = conclude(opened.asked.subject, opened.prepared, opened.checkpoints, circumstances, Path(out))
        return {
            "verdict": report.verdict,
            "results_sha256": report.results_sha256,
            "points": list(_points(report)),
            "summary": summary(report),
            "files": sorted(path.name for path in Path(out).iterdir()),
        }

    @property
    def _audit(self) -> "_Opened":
        if self._opened is None:
            raise AuditorError("no audit is open; open one first")
        return self._opened


@dataclass
class _Opened:
    """The open audit; what is expensive is made when it is first needed."""

    request: Request
    asked: Asked
    place: Place

    def kept(self, place: Place) -> Checkpoints:
        return checkpoints_of(self.asked.subject.spec, place)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return self.kept(self.place)

    @cached_property
    def prepared(self) -> Prepared:
        return prepare_once(self.asked.subject, self.checkpoints, allow_chance=self.request.allow_chance)

    @cached_property
    def items(self) -> dict[str, WorkItem]:
        prepared, spec = self.prepared, self.asked.subject.spec
        every = (*slices(prepared), *alone(prepared, spec.seed), *planted(prepared, spec))
        return {item.name: item for item in every}

    @cached_property
    def others(self) -> dict[str, OtherItem]:
        return {item.name: item for item in other_items(self.prepared)}

    @cached_property
    def engine(self) -> Engine:
        return Engine(self.asked.subject, self.prepared)

    @cached_property
    def planted(self) -> PlantedEngines:
        return PlantedEngines(self.asked.subject, self.prepared)


class _Remembered:
    """A place that is asked for each name once: a stage begins where the one before it ended."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._seen: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        if name not in self._seen:
            self._seen[name] = self._place.read(name)
        return self._seen[name]

    def write(self, name: str, data: bytes) -> None:
        self._place.write(name, data)
        self._seen[name] = data


def _estimate(asked: Asked, prepared: Prepared | None) -> Facts:
    spec, dataset, upload = asked.subject.spec, asked.subject.dataset, asked.subject.upload
    of_all = partial(
        estimate,
        spec,
        examples=min(spec.examples, dataset.size),
        classes=upload.classes,
        label_only=upload.label_only,
        others=asked.subject.others,
        random=upload.random,
        trees=asked.subject.trees is not None,
    )
    if prepared is not None:
        return of_all(gradient=prepared.gradient.followed)
    try:
        obstacles, cost = inspection.measure(upload, dataset.shape, spec.batch_size, spec.threads, spec.device)
    except AuditorError:  # the preparation says it better, or finds a way around it
        return of_all()
    return of_all(gradient=not obstacles, speed=cost.speed)


def _stop_at(seconds_left: float | None) -> float | None:
    return None if seconds_left is None else time.monotonic() + seconds_left


def _stage(opened: _Opened, step: Step, position: int) -> Facts:
    row = vars(step.progress.rows[position])
    facts = {"item": step.item, "position": position, "attack": step.stage.name, "norm": step.stage.norm}
    return {
        "kind": "stage",
        **facts,
        "access": opened.prepared.gradient.seen_by(step.stage),
        "seconds": step.seconds[position],
        **row,
    }


def _other_stage(step: OtherStep, position: int, prepared: Prepared) -> Facts:
    facts = {"item": step.item.name, "position": position, "attack": step.threat, "norm": "", "access": step.access}
    return {"kind": "stage", **facts, "seconds": step.result.seconds, **step.counts(prepared.right)}


def _outcomes(opened: _Opened, item: WorkItem, progress: Progress) -> Arrays:
    """What is known of the slice's examples, as NORM/COLUMN; position is theirs among the sampled examples."""
    arrays: dict[str, np.ndarray] = {}
    for threat in opened.asked.subject.spec.threats:
        found = finish.on_item(threat, opened.prepared, item, progress)
        columns = {name: getattr(found, name) for name in _COLUMNS}
        columns |= {"position": item.rows, "status": np.array(found.statuses(), dtype=str)}
        arrays |= {f"{threat.norm}/{name}": column for name, column in columns.items()}
    return arrays


def _points(report: Report) -> Iterator[Facts]:
    for curve in report.curves:
        for position, point in enumerate(curve.points):
            (lower, upper), (true_lower, true_upper) = point.interval, point.true_interval
            bounds = {"lower": lower, "upper": upper, "true_lower": true_lower, "true_upper": true_upper}
            same = point.model_dump(
                include={"eps", "value", "robust_accuracy", "certified_accuracy", "broken_by", "unfinished"}
            )
            yield {"norm": curve.norm, "position": position, **same, **bounds}
