"""The diagnosis' own attacks: they answer questions about the attacks, and count for no figure of the report.

All run on the diagnostic subsample, in one norm that they serve: one gradient step, PGD with 20 and with 40 steps,
PGD from many starts and random noise at the eps at which the audit's white-box attacks leave nearest to half; PGD
within half the domain; the gradients and the loss around each example. They ascend the margin, which does not saturate
as the cross-entropy does. `quick` tries less noise and leaves the many starts out.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.attacks.cascade import run_stage
from auditor.attacks.catalogue import CATALOGUE, Passes
from auditor.attacks.diagnosis import DRAWS, Slopes, Traced, jumps, slopes
from auditor.attacks.diagnosis import PASSES as SLOPES
from auditor.attacks.grid import Grid, critical
from auditor.attacks.progress import Progress
from auditor.attacks.random import Random
from auditor.attacks.shown import shown
from auditor.attacks.stage import Stage
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.checks import contested
from auditor.audits.prepare import Prepared
from auditor.audits.run import Engine, Step, WorkItem, alone, subsample
from auditor.classifier import Classifier
from auditor.spec import AuditSpec, Loss, Norm, Threat, exact

HALF_DOMAIN = "pgd-half-domain"
RESTARTS, RESTART_STEPS = 10, 10
NOISE, NOISE_QUICK = 1000, 100  # random points per example
_SLOPES = "probe-gradients"
PURSUIT = "pursuit"
ALONG_SURROGATES = f"{PURSUIT}-surrogates"
_LONGER = {"steps": 100, "restarts": 2}


@dataclass(frozen=True)
class Probe:
    """One attack at one eps on the subsample."""

    item: WorkItem
    threat: Threat

    @property
    def stage(self) -> Stage:
        return self.item.stages[0]

    def averaged(self, draws: int) -> "Probe":
        """The same, each pass of which averages so many."""
        stage = dataclasses.replace(self.stage, draws=draws)
        return Probe(dataclasses.replace(self.item, stages=(stage,)), self.threat)


@dataclass(frozen=True)
class Probed:
    """What a probe found, one row per example of the subsample.

    broken: (n,) bool, a counted adversarial example lies within eps. late_rise: (n,) float64, broken_at: (n,) int64,
    see Traced.
    """

    threat: Threat
    stage: Stage
    broken: np.ndarray
    late_rise: np.ndarray
    broken_at: np.ndarray
    forwards: int
    backwards: int


def probes(prepared: Prepared, spec: AuditSpec, apart: Mapping[str, Progress]) -> list[Probe]:
    """What is to run, given what the attacks alone left (by work item name); nothing where there is no gradient."""
    rows = subsample(prepared, spec.seed)
    if not prepared.gradient.followed or not len(rows):
        return []
    threat = _threat(spec)
    one = threat and _only(threat, steepest_eps(threat, spec, prepared, apart))
    found = _at(one, rows, spec) + _along_surrogates(one, prepared, spec, apart)
    found += pursuits(prepared, spec, apart).values()
    return [probe.averaged(prepared.plan.draws) for probe in found]


def _along_surrogates(
    one: Threat | None, prepared: Prepared, spec: AuditSpec, apart: Mapping[str, Progress]
) -> list[Probe]:
    """Where surrogates stand in for slopes, a longer attack along them on what white-box attacks left at the one eps."""
    if one is None or prepared.gradient.access != "surrogate-gradient":
        return []
    nearest = nearest_by_gradients(prepared, spec, apart, one.norm)
    if nearest is None:
        return []
    left = subsample(prepared, spec.seed)[critical([exact(one.eps[0])], nearest) >= 0]
    return [_probe(left, one, ALONG_SURROGATES, "apgd", **_LONGER)] if len(left) else []


def pursuits(prepared: Prepared, spec: AuditSpec, apart: Mapping[str, Progress]) -> dict[tuple[Norm, str], Probe]:
    """By norm and name of an attack without gradients that alone breaks something: a longer gradient attack there, on all
    that white-box attacks left."""
    found = {}
    rows = subsample(prepared, spec.seed)
    for threat in spec.threats:
        nearest = nearest_by_gradients(prepared, spec, apart, threat.norm)
        if nearest is None or threat.norm not in CATALOGUE["apgd"].norms:
            continue
        eps = [exact(text) for text in threat.eps]
        white = critical(eps, nearest)
        for item in _without_gradients(prepared, spec, apart, threat.norm):
            name = item.stages[0].name
            level, only = contested(critical(eps, apart[item.name].best[threat.norm].distance), white, len(eps))
            if only.any():
                after = _probe(
                    rows[only], _only(threat, threat.eps[level]), f"{PURSUIT}-{threat.norm}-{name}", "apgd", **_LONGER
                )
                found[threat.norm, name] = after
    return found


def _without_gradients(
    prepared: Prepared, spec: AuditSpec, apart: Mapping[str, Progress], norm: Norm
) -> list[WorkItem]:
    """The stages of one norm that ran alone and follow no gradient of the model."""
    ran = (item for item in alone(prepared, spec.seed) if item.name in apart)
    return [item for item in ran if item.stages[0].norm == norm and item.stages[0].access != "white-box"]


def passes_at_most(spec: AuditSpec, classes: int, draws: int) -> Passes:
    """What all probes together may cost per example of the subsample, each pass of which averages so many."""
    threat = _threat(spec)
    stages = [p.stage for p in _at(threat and _only(threat, threat.eps[0]), np.zeros(0, np.int64), spec)]
    costs = (CATALOGUE[stage.attack].at_most(stage.parameters, classes) for stage in stages)
    return sum(costs, start=Passes()) * draws + Passes(SLOPES + DRAWS + 1, SLOPES)


def pursuits_at_most(stages: Sequence[Stage], classes: int) -> Passes:
    """What longer attacks may cost per example of the subsample, one along surrogates and one after each of the stages that
    follow no gradient."""
    blind = [s for s in stages if s.access != "white-box" and s.norm in CATALOGUE["apgd"].norms]
    draws = sum(stage.draws for stage in [*stages[:1], *blind])
    return CATALOGUE["apgd"].at_most(_LONGER, classes) * draws


def _threat(spec: AuditSpec) -> Threat | None:
    """Linf if it was asked for; None where every norm is one in which there are no gradient steps."""
    served = [t for t in spec.threats if t.norm in CATALOGUE["pgd"].norms]
    return next((t for t in served if t.norm == "Linf"), served[0] if served else None)


def _only(threat: Threat, eps: str) -> Threat:
    return Threat(norm=threat.norm, eps=(eps,))


def _at(one: Threat | None, rows: np.ndarray, spec: AuditSpec) -> list[Probe]:
    found = []
    if one is not None:
        found += [
            _probe(rows, one, "fgsm", "fgsm"),
            _probe(rows, one, "pgd-20", "pgd", steps=20),
            _probe(rows, one, "pgd-40", "pgd", steps=40),
            _probe(rows, one, "noise", "noise", queries=NOISE_QUICK if spec.preset == "quick" else NOISE),
        ]
        if spec.preset != "quick":
            found.append(_probe(rows, one, "pgd-restarts", "pgd", steps=RESTART_STEPS, restarts=RESTARTS))
    if spec.domain is not None:
        found.append(_probe(rows, Threat(norm="Linf", eps=("1/2",)), HALF_DOMAIN, "pgd", steps=20))
    return found


def _probe(rows: np.ndarray, threat: Threat, name: str, attack: str, **parameters: object) -> Probe:
    loss = {"loss": Loss.MARGIN} if CATALOGUE[attack].access == "white-box" else {}
    stage = Stage(name, attack, threat.norm, {**loss, **parameters})
    eps = threat.eps[0].replace("/", "_")  # stored results are those of one eps
    return Probe(WorkItem(f"probe-{threat.norm}-{eps}-{name}", rows, (stage,)), threat)


def steepest_eps(threat: Threat, spec: AuditSpec, prepared: Prepared, apart: Mapping[str, Progress]) -> str:
    """The eps of the grid at which the white-box attacks together leave nearest to half of the subsample, the
    smaller of equals: there a stronger attack shows most. The middle of the grid where none of them ran."""
    eps = [exact(text) for text in threat.eps]
    nearest = nearest_by_gradients(prepared, spec, apart, threat.norm)
    if nearest is None:
        return threat.eps[len(threat.eps) // 2]
    position = critical(eps, nearest)
    left = [float(np.mean(position >= level)) for level in range(len(threat.eps))]
    return threat.eps[int(np.argmin(np.abs(np.array(left) - 0.5)))]


def nearest_by_gradients(
    prepared: Prepared, spec: AuditSpec, apart: Mapping[str, Progress], norm: Norm
) -> np.ndarray | None:
    """(n,) smallest counted distance in widths by any white-box attack alone, of whatever norm; None if none ran."""
    distances = [
        apart[item.name].best[norm].distance
        for item in alone(prepared, spec.seed)
        if item.stages[0].access == "white-box" and item.name in apart and norm in apart[item.name].best
    ]
    return np.min(distances, axis=0) if distances else None


def run_probes(engine: Engine, checkpoints: Checkpoints) -> Iterator[Step]:
    """Run what is missing, saving each; yields every finished probe, those found finished included. Comes after the
    attacks alone, whose results choose the eps."""
    prepared, spec = engine.prepared, engine.spec
    stored = {item.name: checkpoints.load(item.name) for item in alone(prepared, spec.seed)}
    todo = probes(prepared, spec, {name: found[0] for name, found in stored.items() if found is not None})
    if todo:
        _measure_slopes(engine, todo[0].item, checkpoints)
    for done, probe in enumerate(todo, start=1):
        found = checkpoints.load(probe.item.name)
        if found is None:
            found = _run(engine, probe, checkpoints)
        yield Step(probe.item.name, probe.stage, *found, done, len(todo))


def _run(engine: Engine, probe: Probe, checkpoints: Checkpoints) -> tuple[Progress, list[float]]:
    examples, started = engine.examples(probe.item), time.monotonic()
    traces: list[Traced] = []

    def attack(classifier: object) -> Progress:
        traces.append(Traced(classifier, examples.y, examples.target, examples.reading))  # type: ignore[arg-type]
        return run_stage(
            probe.stage,
            examples,
            Progress.start(examples, [probe.threat.norm]),
            classifier=traces[-1],
            verifier=engine.verifier,
            grid=Grid(probe.threat, engine.space),
            space=engine.space,
            seed=engine.spec.seed,
            served=engine.served,
        )

    progress = engine.fitting(attack)
    seen = {"late_rise": traces[-1].late_rise(len(examples.index)), "broken_at": traces[-1].broken_at}
    checkpoints.save_facts(_trace(probe), {}, **seen)  # first, so that a saved probe always has its trace
    found = progress, [time.monotonic() - started]
    checkpoints.save(probe.item.name, *found)
    return found


def _trace(probe: Probe) -> str:
    return f"{probe.item.name}-trace"


def _measure_slopes(engine: Engine, item: WorkItem, checkpoints: Checkpoints) -> None:
    if checkpoints.load_facts(_SLOPES) is None:
        examples = engine.examples(item)
        found = engine.fitting(lambda classifier: slopes(classifier, examples.x, examples.y))
        rng = Random.keyed(engine.classifier.xp, engine.spec.seed, "jumps", examples.index)

        def jumped(classifier: Classifier) -> np.ndarray:
            seen, y = shown(classifier, classifier.xp.asarray(examples.y), examples.reading)
            return jumps(seen, examples.x, y, rng, engine.spec.width)

        around = engine.fitting(jumped)
        checkpoints.save_facts(_SLOPES, {}, jumps=around, **dataclasses.asdict(found))


def load_slopes(checkpoints: Checkpoints) -> tuple[Slopes, np.ndarray] | None:
    """What was measured of the gradients and what `jumps` gave, or None."""
    stored = checkpoints.load_facts(_SLOPES)
    if stored is None:
        return None
    around = stored[0].pop("jumps")
    return Slopes(**stored[0]), around


def load_probed(todo: list[Probe], checkpoints: Checkpoints) -> dict[str, Probed]:
    """What the finished ones of these probes found, by the stage's name."""
    found = {}
    for probe in todo:
        stored, trace = checkpoints.load(probe.item.name), checkpoints.load_facts(_trace(probe))
        if stored is not None and trace is not None:
            progress, _ = stored
            found[probe.stage.name] = Probed(
                threat=probe.threat,
                stage=probe.stage,
                broken=critical([exact(probe.threat.eps[0])], progress.best[probe.threat.norm].distance) < 0,
                late_rise=trace[0]["late_rise"],
                broken_at=trace[0]["broken_at"],
                forwards=progress.rows[0].forwards,
                backwards=progress.rows[0].backwards,
            )
    return found
