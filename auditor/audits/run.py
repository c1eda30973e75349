"""The attack: every stage on every slice, and every attack alone on the diagnostic subsample.

Stages run over all slices before the next stage begins, so that a budget that cuts an audit short leaves every
example tried by something; the results are the same in any order, for a slice depends on nothing but itself.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from auditor.attacks.cascade import run_stage
from auditor.attacks.catalogue import Passes
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Examples, Progress
from auditor.attacks.random import Random
from auditor.attacks.stage import Stage
from auditor.attacks.transfer import Surrogate
from auditor.attacks.trees import Forest
from auditor.attacks.verify import Judge
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.plan import BATCHES_PER_SLICE, DIAGNOSIS_EXAMPLES
from auditor.audits.prepare import Prepared
from auditor.audits.subject import Subject
from auditor.audits.surrogates import build_surrogate, spare
from auditor.classifier import Array, Classifier, Evaluation, Layer, OnnxClassifier
from auditor.errors import OutOfMemory, OutOfTime
from auditor.spec import Loss
from auditor.threats.judge import Judged, judge
from auditor.threats.pixels import Pixels
from auditor.threats.threat import Lesson, OtherThreat
from auditor.threats.universal import MOST as LESSON

T = TypeVar("T")


@dataclass(frozen=True)
class WorkItem:
    """Rows of the sample under one or more stages. A slice runs them as a cascade; the subsample runs one alone."""

    name: str
    rows: np.ndarray
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Step:
    """One finished stage of one work item, for whoever watches."""

    item: str
    stage: Stage
    progress: Progress
    seconds: list[float]
    done: int
    total: int

    @property
    def title(self) -> str:
        name = f"{self.stage.norm} {self.stage.name}"
        kind = self.item.partition("-")[0]
        return f"{kind}: {name}" if kind in ("alone", "planted") else name


def slices(prepared: Prepared) -> list[WorkItem]:
    """The cascade's work items."""
    return [
        WorkItem(f"slice-{number:05}", np.arange(start, stop), prepared.plan.stages)
        for number, (start, stop) in enumerate(prepared.plan.slices)
    ]


def alone(prepared: Prepared, seed: int) -> list[WorkItem]:
    """The diagnosis' work items: each stage by itself on one random subsample of what is right when clean."""
    rows = subsample(prepared, seed)
    if not len(rows):
        return []
    return [WorkItem(f"alone-{s.norm}-{s.name}", rows, (s,)) for s in prepared.plan.stages]


def subsample(prepared: Prepared, seed: int) -> np.ndarray:
    """Rows of the sample that the diagnosis looks at: random ones out of what is right when clean, in their order."""
    right = np.flatnonzero(prepared.right)
    order = Random.keyed(np, seed, "diagnostic subsample", prepared.index[right]).integers(0, 1)[:, 0]
    return np.sort(right[np.argsort(order, kind="stable")[:DIAGNOSIS_EXAMPLES]])


class Engine:
    """One process's classifier and verifier for an audit; runs any stage of any work item.

    stop_at: the monotonic time at which attacks are stopped between two passes, by OutOfTime; None for never.
    """

    def __init__(self, subject: Subject, prepared: Prepared, *, stop_at: float | None = None) -> None:
        subject = subject.weighing(prepared.weight)
        self._subject, self.prepared, self.spec = subject, prepared, subject.spec
        self.verifier = subject.verifier()
        self.referee: Judge = self.verifier  # of what the stages claim
        self.space, self.served = subject.space, subject.served
        self._grids = {threat.norm: Grid(threat, self.space) for threat in self.spec.threats}
        self.stop_at = stop_at
        self._halvings = 0
        self._classifier = self._build(prepared.plan.batch)
        self._surrogate: Surrogate | None = None
        self._learnt: dict[str, OtherThreat] = {}

    def _build(self, batch: int) -> Classifier:
        return OnnxClassifier(
            self._subject.plain_graph(batch),
            domain=self.spec.domain,
            device=self.spec.device,
            threads=self.prepared.plan.threads,
            policy=self.prepared.gradient.policy,
        )

    @property
    def halvings(self) -> int:
        """How often the plan's batch was halved to fit into memory."""
        return self._halvings

    @property
    def classifier(self) -> Classifier:
        return self._timed(self._classifier)

    @property
    def surrogate(self) -> Surrogate:
        """What transfer attacks follow, built when first asked for."""
        if self._surrogate is None:
            batch, threads = self.prepared.plan.batch >> self._halvings, self.prepared.plan.threads
            self._surrogate = build_surrogate(self._subject, self.prepared.trained, batch=batch, threads=threads)
        timed = self._timed(self._surrogate.classifier)
        layer = self._surrogate.layer
        if isinstance(timed, _Timed) and layer is not None:
            layer = timed.stopping(layer)
        return dataclasses.replace(self._surrogate, classifier=timed, layer=layer)

    def _timed(self, classifier: Classifier) -> Classifier:
        return classifier if self.stop_at is None else _Timed(classifier, self.stop_at)

    def examples(self, item: WorkItem) -> Examples:
        return self._examples(item.rows)

    def _examples(self, rows: np.ndarray) -> Examples:
        examples = self.prepared.examples(self._subject.dataset, rows)
        return dataclasses.replace(examples, reading=self._subject.reading)

    def run(self, stage: Stage, examples: Examples, progress: Progress) -> Progress:
        """One stage at the audit's own grid of eps."""
        done = self.fitting(
            lambda classifier: run_stage(
                stage,
                examples,
                progress,
                classifier=classifier,
                verifier=self.referee,
                grid=self._grids[stage.norm],
                space=self.space,
                seed=self.spec.seed,
                passes=self.spec.budget.passes,
                surrogate=self.surrogate if stage.access == "transfer" else None,
                served=self.served,
                forest=self._forest if stage.access == "structure" else None,
            )
        )
        row = dataclasses.replace(done.rows[-1], halvings=self._halvings)
        return dataclasses.replace(done, rows=(*done.rows[:-1], row))

    @cached_property
    def _forest(self) -> Forest:
        """The model as a sum of trees, which a plan with stages that know them has."""
        assert self._subject.trees is not None, "the model is no sum of trees"
        return Forest.of(self._subject.trees, self.space)

    @cached_property
    def others(self) -> Mapping[str, OtherThreat]:
        """The threats beside the norms that are asked for, by name."""
        return {threat.name: threat for threat in self._subject.others}

    def judge(self, name: str, rows: np.ndarray) -> Judged:
        """What a threat beside the norms makes of the sampled examples at `rows`, no more than a slice at a time."""
        threat = self._taught(name)
        size = self.prepared.plan.batch * BATCHES_PER_SLICE
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return Judged.joined([self._judge(threat, part) for part in parts])

    def learning(self, name: str) -> Passes:
        """What a threat has cost before it was judged."""
        return self._taught(name).learning

    def _judge(self, threat: OtherThreat, rows: np.ndarray) -> Judged:
        examples = self._examples(rows)
        shape = self._subject.dataset.shape
        pixels = Pixels.of(shape, self.spec.layout, self.spec.domain) if threat.images else None

        def judged(classifier: Classifier) -> Judged:
            return judge(
                threat,
                examples,
                classifier=classifier,
                verifier=self.verifier,
                space=self.space,
                seed=self.spec.seed,
                pixels=pixels,
                served=self.served,
                draws=self.prepared.plan.draws,
            )

        return self.fitting(judged)

    def _taught(self, name: str) -> OtherThreat:
        """A threat that has learnt what it must."""
        learn = self.others[name].learn
        if learn is None:
            return self.others[name]
        if name not in self._learnt:
            self._learnt[name] = self.fitting(lambda classifier: learn(self._lesson(classifier)))
        return self._learnt[name]

    def _lesson(self, classifier: Classifier) -> Lesson:
        dataset, xp = self._subject.dataset, classifier.xp
        index = spare(dataset, self.spec, LESSON)
        rng = Random.keyed(xp, self.spec.seed, "lesson/served", xp.asarray(index))
        view = self.space.view(self.served.before(classifier, rng), xp.asarray(dataset.fetch(index)))
        x = view.x
        if dataset.y is None:
            y = self._subject.reading.answers(xp, classifier.logits(view.input(x)))
        else:
            y = xp.asarray(dataset.y[index])
        return Lesson(view.classifier, index, x, y, self.spec.seed)

    def fitting(self, work: Callable[[Classifier], T]) -> T:
        """work(classifier); a batch that does not fit is halved and the work done again, which leaves
        bit-reproducibility. A randomised model begins its draws anew for each work, and so does a randomised surrogate, so that
        these do not depend on what ran before."""
        if self._subject.upload.random:
            self._classifier = self._build(self.prepared.plan.batch >> self._halvings)
        if any(upload.random for upload in self._subject.surrogates):
            self._surrogate = None
        while True:
            try:
                return work(self.classifier)
            except (OutOfMemory, MemoryError) as error:
                self._halvings += 1
                batch = self.prepared.plan.batch >> self._halvings
                if batch < 1:
                    raise OutOfMemory("not even one example fits into memory; free some") from error
                del self._classifier  # its sessions make room before the next are built
                self._surrogate = None
                self._classifier = self._build(batch)


def run_stages(engine: Engine, items: list[WorkItem], checkpoints: Checkpoints) -> Iterator[Step]:
    """Run what is missing of `items`, stage by stage over all of them, saving each; yields every finished stage,
    those found finished included. Raises OutOfTime when the wall-time budget ends."""
    total = sum(len(item.stages) for item in items)
    done = 0
    norms = [threat.norm for threat in engine.spec.threats]
    for depth in range(max((len(item.stages) for item in items), default=0)):
        for item in items:
            if depth >= len(item.stages):
                continue
            stage = item.stages[depth]
            stored = checkpoints.load(item.name)
            if stored is None or len(stored[0].rows) <= depth:
                examples = engine.examples(item)
                progress, seconds = stored or (Progress.start(examples, norms), [])
                started = time.monotonic()
                progress = engine.run(stage, examples, progress)
                stored = progress, [*seconds, time.monotonic() - started]
                checkpoints.save(item.name, *stored)
            done += 1
            yield Step(item.name, stage, *stored, done, total)


class _Timed:
    """A classifier that stops an attack between two passes when the time is over. Attacks see no clock."""

    def __init__(self, classifier: Classifier, stop_at: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._classifier, self._stop_at, self._clock = classifier, stop_at, clock
        self.xp, self.shape, self.classes = classifier.xp, classifier.shape, classifier.classes
        self.domain = classifier.domain

    def _check(self) -> None:
        if self._clock() >= self._stop_at:
            raise OutOfTime("the time budget is used up")

    def logits(self, x: Array, *, active: Array | None = None) -> Array:
        self._check()
        return self._classifier.logits(x, active=active)

    def gradient(
        self, x: Array, y: Array, loss: Loss | Array, *, target: Array | None = None, active: Array | None = None
    ) -> Evaluation:
        self._check()
        return self._classifier.gradient(x, y, loss, target=target, active=active)

    def stopping(self, layer: Layer) -> Layer:
        """A layer of the classifier that stops in the same way."""

        def at(x: Array, along: Array | None, active: Array) -> tuple[Array, Array]:
            self._check()
            return layer.at(x, along, active)

        return Layer(layer.width, at)
