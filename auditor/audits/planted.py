"""The active test: the audit's own stages against adversarial examples that were planted; see attacks.planted.

Per norm one work item: the plan's stages, as a cascade, on a few examples of the diagnostic subsample, at the middle eps
of the grid. A second one, random noise at the same eps, says how easy the problems are. Nothing of it enters a figure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from auditor import runtime
from auditor.attacks.catalogue import CATALOGUE, Passes
from auditor.attacks.grid import Grid
from auditor.attacks.planted import INNER, Planted, Readouts, Unquestioned, plant
from auditor.attacks.progress import Examples
from auditor.attacks.random import Random
from auditor.attacks.stage import Stage
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.prepare import Prepared
from auditor.audits.run import Engine, Step, WorkItem, run_stages, subsample
from auditor.audits.subject import Subject
from auditor.classifier import Classifier, OnnxClassifier
from auditor.graph.plain import ClassifierGraph
from auditor.graph.reading import EXCLUSIVE
from auditor.graph.readout import features, with_readouts
from auditor.spec import AuditSpec, Norm, Threat

EXAMPLES = 32
_ELSEWHERE = ("transfer", "structure")  # what these follow is not what is planted
CHANCE = 256  # points of noise


@dataclass(frozen=True)
class PlantedItem(WorkItem):
    """Stages against planted problems, at the threat's one eps."""

    threat: Threat


def planted(prepared: Prepared, spec: AuditSpec) -> list[PlantedItem]:
    """The work items, two per norm; none where `left_out` says why."""
    rows = subsample(prepared, spec.seed)[:EXAMPLES]
    if left_out(prepared, spec) or not len(rows):
        return []
    items = []
    for threat in map(_middle, spec.threats):
        kinds = {"": _stages(prepared.plan.stages, threat), "-chance": _noise(threat)}
        items += [
            PlantedItem(f"planted-{threat.norm}{kind}", rows, stages, threat)
            for kind, stages in kinds.items()
            if stages
        ]
    return items


def left_out(prepared: Prepared, spec: AuditSpec) -> str | None:
    """Why the test is no part of the audit, or None."""
    if spec.preset == "quick":
        return "the preset 'quick' leaves it out"
    if prepared.randomised:
        return "the scores are random"
    if spec.eot:
        return "inputs are transformed at random"
    if spec.abstain is not None or spec.detector is not None:
        return "the model may refuse, and what is planted in its place does not"
    if spec.quantize is not None or spec.tabular:
        return "what is planted lies anywhere in the domain, and not everything there is an input"
    return None


def passes_at_most(spec: AuditSpec, stages: tuple[Stage, ...]) -> Passes:
    """What the test may cost per planted example, given the audit's stages."""
    if spec.preset == "quick":
        return Passes()
    total = Passes()
    for threat in map(_middle, spec.threats):
        chosen = (*_stages(stages, threat), *_noise(threat))
        costs = (CATALOGUE[stage.attack].at_most(stage.parameters, Planted.classes) for stage in chosen)
        total = sum(costs, start=total + Passes(INNER + 3))
    return total


def _middle(threat: Threat) -> Threat:
    return Threat(norm=threat.norm, eps=(threat.eps[len(threat.eps) // 2],))


def _stages(stages: tuple[Stage, ...], threat: Threat) -> tuple[Stage, ...]:
    return tuple(stage for stage in stages if stage.norm == threat.norm and stage.access not in _ELSEWHERE)


def _noise(threat: Threat) -> tuple[Stage, ...]:
    served = threat.norm in CATALOGUE["noise"].norms
    return (Stage("noise", "noise", threat.norm, {"queries": CHANCE}),) if served else ()


class PlantedEngine(Engine):
    """An engine whose classifier is made of the read-outs planted for one work item, or its companion of noise."""

    def __init__(
        self, subject: Subject, prepared: Prepared, item: PlantedItem, *, stop_at: float | None = None
    ) -> None:
        self._graphs: dict[int, ClassifierGraph] = {}
        self._readouts: Readouts | None = None
        super().__init__(subject, prepared, stop_at=stop_at)
        self.referee = Unquestioned()
        self._grids[item.threat.norm] = Grid(item.threat, self.space)
        self._right = np.zeros(len(item.rows), dtype=bool)
        if features(self._graphs[prepared.plan.batch >> self._halvings]) is not None:
            self._right = self._plant(item)

    def _plant(self, item: PlantedItem) -> np.ndarray:
        """(n,) bool, around which examples an adversarial example was planted."""
        norm, width, clean = item.threat.norm, self.spec.width, super().examples(item)
        (eps,) = self._grids[norm].units(np.zeros(1, dtype=np.int64))
        rng = Random.keyed(self.classifier.xp, self.spec.seed, f"planted/{norm}", clean.index)
        made = self._readouts = self.fitting(lambda c: plant(c, clean.x, eps=eps, norm=norm, width=width, rng=rng))
        self._classifier = self._build(self.prepared.plan.batch >> self._halvings)
        at_x, there = self.fitting(lambda c: [c.logits(c.xp.asarray(x)) for x in (clean.x, made.points)])
        return made.separable & (runtime.to_host(at_x)[:, 1] < 0) & (runtime.to_host(there)[:, 1] > 0)

    def _build(self, batch: int) -> Classifier:
        if batch not in self._graphs:
            self._graphs[batch] = self._subject.plain_graph(batch)
        plain, made = self._graphs[batch], self._readouts
        graph = features(plain) if made is None else with_readouts(plain, made.weights, made.offsets)
        if graph is None:
            return super()._build(batch)
        whole = OnnxClassifier(
            graph,
            domain=self.spec.domain,
            device=self.spec.device,
            threads=self.prepared.plan.threads,
            policy=self.prepared.gradient.policy,
        )
        return whole if made is None else Planted(whole)

    def examples(self, item: WorkItem) -> Examples:
        """Label 0 is "the same"; right are those around which an adversarial example was planted."""
        label = np.zeros(len(item.rows), dtype=np.int64)
        return replace(super().examples(item), y=label, right=self._right, target=None, start=None, reading=EXCLUSIVE)


class PlantedEngines:
    """The engine of each norm, made when it is first needed."""

    def __init__(self, subject: Subject, prepared: Prepared) -> None:
        self._subject, self._prepared = subject, prepared
        self._made: dict[Norm, PlantedEngine] = {}

    def serving(self, item: PlantedItem, stop_at: float | None) -> PlantedEngine:
        """stop_at: see Engine."""
        norm = item.threat.norm
        if norm not in self._made:
            self._made.clear()  # its sessions make room first
            self._made[norm] = PlantedEngine(self._subject, self._prepared, item, stop_at=stop_at)
        self._made[norm].stop_at = stop_at
        return self._made[norm]


def run_planted(
    engine: Engine, engines: PlantedEngines, item: PlantedItem, checkpoints: Checkpoints
) -> Iterator[Step]:
    """`run_stages` of one item. engine: the audit's own, which is enough where everything is stored already."""
    stored = checkpoints.load(item.name)
    ended = stored is not None and len(stored[0].rows) == len(item.stages)
    return run_stages(engine if ended else engines.serving(item, engine.stop_at), [item], checkpoints)
