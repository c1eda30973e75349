"""When not to trust the number: every attack alone on one random subsample, probes, and what both say.

Carlini et al. 2019, "On evaluating adversarial robustness"; Croce & Hein 2020 (AutoAttack's checks); Pintor et al.
2022, "Indicators of attack failure". docs/diagnosis.md says of each check what it means and what to do.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.diagnosis import Slopes
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Progress, StageRow
from auditor.attacks.stage import Stage
from auditor.audits import checks
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.checks import Check
from auditor.audits.crossings import crossed
from auditor.audits.outcomes import Outcomes
from auditor.audits.planted import PlantedItem, left_out, planted
from auditor.audits.prepare import Prepared
from auditor.audits.probes import (
    ALONG_SURROGATES,
    HALF_DOMAIN,
    PURSUIT,
    RESTART_STEPS,
    RESTARTS,
    Probe,
    Probed,
    load_probed,
    load_slopes,
    nearest_by_gradients,
    probes,
    pursuits,
)
from auditor.audits.run import WorkItem, alone, subsample
from auditor.audits.subject import Subject
from auditor.spec import AuditSpec, Loss, Norm, Threat


def diagnose(
    subject: Subject,
    prepared: Prepared,
    checkpoints: Checkpoints,
    finished: Mapping[str, Progress],
    outcomes: Sequence[Outcomes],
) -> dict[str, Any]:
    """The report's diagnosis: subsample (dataset positions), the accuracy that each attack alone leaves on it per
    eps, the same for each probe at its one eps, checks. finished: progress by work item name."""
    return _Diagnosis(subject, prepared, checkpoints, finished, outcomes).as_json()


# What they compare would differ between two draws whatever the attacks do.
_OF_ONE_DRAW = ("unstable-loss", "silent-success", "loss-not-converged", "refuted-claims")


class _Diagnosis:
    def __init__(
        self,
        subject: Subject,
        prepared: Prepared,
        checkpoints: Checkpoints,
        finished: Mapping[str, Progress],
        outcomes: Sequence[Outcomes],
    ) -> None:
        self.subject, self.prepared, self.finished, self.outcomes = subject, prepared, finished, outcomes
        self.spec: AuditSpec = subject.spec
        self.rows = subsample(prepared, self.spec.seed)
        self.items = alone(prepared, self.spec.seed)
        self.planted = planted(prepared, self.spec)
        self.apart = {item.name: finished[item.name] for item in self.items if item.name in finished}
        self.todo = probes(prepared, self.spec, self.apart)
        self.pursuits = pursuits(prepared, self.spec, self.apart) if self.todo else {}
        self.surrogates = next((probe for probe in self.todo if probe.stage.name == ALONG_SURROGATES), None)
        measured = load_slopes(checkpoints)
        self.slopes: Slopes | None = measured and measured[0]
        self.jumps: np.ndarray | None = measured and measured[1]
        self.probed = load_probed(self.todo, checkpoints)

    def as_json(self) -> dict[str, Any]:
        return {
            "subsample": self.prepared.index[self.rows].tolist(),
            "attacks": [self._alone(i.stages[0], self.apart[i.name]) for i in self.items if i.name in self.apart],
            "probes": [self._probe(p) for p in self.probed.values() if not p.stage.name.startswith(PURSUIT)],
            "checks": [check.as_json() for check in self.checks()],
        }

    def checks(self) -> Iterator[Check]:
        for check in self._made():
            drawn = self.subject.drawn and check.check in _OF_ONE_DRAW
            yield (
                checks.not_made(check.check, "answers depend on chance, and it looks at single draws")
                if drawn
                else check
            )

    def _made(self) -> Iterator[Check]:
        gradient = self.prepared.gradient
        yield checks.unfinished(self._missing())
        yield checks.randomised_output(self.prepared.randomised, self.subject.upload.random)
        trees = any(stage.access == "structure" for stage in self.prepared.plan.stages)
        yield checks.gradient_agrees(gradient.access, gradient.why, gradient.error, gradient.nonzero, trees=trees)
        yield checks.gives_probabilities(self.subject.upload.scores, self.slopes)
        yield self._claims()
        yield from self._about_gradients()
        yield from self._about_transfer()
        yield from self._about_planted()
        for outcomes in self.outcomes:
            yield from self._about_threat(outcomes)

    def _missing(self) -> list[str]:
        names = [item.name for item in self.items if item.name not in self.apart]
        names += [item.name for item in self.planted if not self._ended(item)]
        return names + [p.item.name for p in self.todo if p.stage.name not in self.probed]

    def _ended(self, item: WorkItem) -> bool:
        return item.name in self.finished and len(self.finished[item.name].rows) == len(item.stages)

    def _claims(self) -> Check:
        problems = {item.name for item in self.planted}  # nobody questions what is claimed of those
        rows = [row for name, progress in self.finished.items() if name not in problems for row in progress.rows]
        return checks.claims_refuted(sum(r.claims for r in rows), sum(r.refuted for r in rows))

    def _about_gradients(self) -> Iterator[Check]:
        reason = self._no_probes()
        if self.slopes is None or self.jumps is None:
            for name in ("vanishing-gradient", "saturated-softmax", "unstable-loss"):
                yield checks.not_made(name, reason)
        else:
            yield checks.gradient_vanishes(self.slopes, one_sided=self.subject.upload.one_sided)
            yield self._saturation(self.slopes)
            yield checks.loss_jumps(self.jumps)
        yield from self._along_surrogates()
        yield self._half_domain(reason)
        yield self._unconstrained(reason)
        if not {"fgsm", "pgd-20", "pgd-40", "noise"} <= self.probed.keys():
            for name in (
                "pgd-weaker-than-fgsm",
                "doubling-steps",
                "loss-not-converged",
                "silent-success",
                "noise-beats-white-box",
            ):
                yield checks.not_made(name, reason)
            return
        single, fewer, more, noise = (self.probed[name] for name in ("fgsm", "pgd-20", "pgd-40", "noise"))
        at = more.threat.eps[0], more.threat.norm
        yield checks.one_step_wins(*at, single.broken, more.broken)
        yield checks.more_steps_help(*at, fewer.broken, more.broken)
        yield checks.loss_still_rises(*at, more.late_rise[~more.broken])
        ran = list(self.probed.values())
        seen, broken = np.concatenate([p.broken_at >= 0 for p in ran]), np.concatenate([p.broken for p in ran])
        yield checks.silent_success(seen, broken)
        yield self._noise(noise)
        yield self._restarts()

    def _along_surrogates(self) -> Iterator[Check]:
        probe = self.surrogates
        if probe is None or (broken := self._found(probe)) is None:
            return
        outcomes = next(o for o in self.outcomes if o.threat.norm == probe.threat.norm)
        stood = Grid(probe.threat, self.subject.space).critical(outcomes.distance[self.rows]) >= 0
        yield checks.longer_along_surrogates(probe.threat.eps[0], probe.threat.norm, broken & stood)

    def _noise(self, noise: Probed) -> Check:
        name, threat = "noise-beats-white-box", noise.threat
        nearest = nearest_by_gradients(self.prepared, self.spec, self.apart, threat.norm)
        if nearest is None:
            return checks.not_made(name, "no white-box attack ran alone")
        followed = Grid(threat, self.subject.space).critical(nearest)
        stood = np.where(noise.broken, -1, 0)
        return checks.beats_gradients("noise", threat.norm, threat.eps, stood, followed, check=name)

    def _restarts(self) -> Check:
        probed = self.probed.get("pgd-restarts")
        if probed is None:
            left_out = self.spec.preset == "quick"
            return checks.not_made(
                "doubling-restarts", "the preset 'quick' leaves it out" if left_out else self._no_probes()
            )
        calls = (RESTARTS // 2) * (RESTART_STEPS + 1) * probed.stage.draws
        early = probed.broken & (probed.broken_at < calls)
        return checks.restarts_help(probed.threat.eps[0], probed.threat.norm, early, probed.broken)

    def _unconstrained(self, reason: str) -> Check:
        """By attacks that know no limit, and within half the domain."""
        if self.spec.target is not None:
            return checks.not_made("unconstrained-attack", "there may be no input of the target class at all")
        unlimited = [
            (item.stages[0].norm, self.apart[item.name])
            for item in self.items
            if item.name in self.apart
            and item.stages[0].access == "white-box"
            and CATALOGUE[item.stages[0].attack].budget == "minimal"
        ]
        if not unlimited:
            why = reason if not self.todo else "every white-box attack that ran alone is bound to an eps"
            return checks.not_made("unconstrained-attack", why)
        nearest = np.min([progress.best[norm].distance for norm, progress in unlimited], axis=0)
        if HALF_DOMAIN in self.probed:
            nearest = np.where(self.probed[HALF_DOMAIN].broken, np.minimum(nearest, 0.5), nearest)
        return checks.never_broken(list(dict.fromkeys(norm for norm, _ in unlimited)), nearest)

    def _about_transfer(self) -> Iterator[Check]:
        """What each transfer attack alone did at its largest eps."""
        followed = [i for i in self.items if i.stages[0].access == "transfer" and i.name in self.apart]
        if not followed:
            yield checks.not_made("transfer-failure", "no transfer attack ran alone")
        alone = not any(stage.access == "white-box" for stage in self.prepared.plan.stages)
        for item in followed:
            stage = item.stages[0]
            for at in crossed(stage, [self.apart[item.name].rows[0]], self.spec)["crossings"][-1:]:
                yield checks.transfers(stage.name, stage.norm, at["eps"], at["fooled"], at["both"], alone=alone)

    def _about_planted(self) -> Iterator[Check]:
        ended = {item.name: item for item in self.planted if self._ended(item)}
        mains = [item for name, item in ended.items() if not name.endswith("-chance")]
        if not mains:
            reason = left_out(self.prepared, self.spec) or self._no_probes()
            yield checks.not_made("planted-examples", "the audit ended before it" if self.planted else reason)
        for item in mains:
            chance = ended.get(f"{item.name}-chance")
            made = self.finished[item.name].rows[0].tried
            noise = None if chance is None else self._planted_found(chance)
            found = self._planted_found(item)
            yield checks.planted_found(item.threat.norm, item.threat.eps[0], made, found, noise)

    def _planted_found(self, item: PlantedItem) -> int:
        nearest = self.finished[item.name].best[item.threat.norm].distance
        return int(np.sum(Grid(item.threat, self.subject.space).critical(nearest) < 0))

    def _no_probes(self) -> str:
        if not self.prepared.gradient.followed:
            return f"there is no gradient to follow ({self.prepared.gradient.why})"
        if all(threat.norm == "L0" for threat in self.spec.threats):
            return "no norm was asked for in which gradient steps are taken"
        return "the audit ended before it" if len(self.rows) else "no example is right when clean"

    def _saturation(self, slopes: Slopes) -> Check:
        if self.spec.target is not None:
            why = "where a model is sure of the label, the cross-entropy towards a target is steepest"
            return checks.not_made("saturated-softmax", why)
        return checks.softmax_saturates(slopes, self._only_cross_entropy())

    def _half_domain(self, reason: str) -> Check:
        name = "half-domain-accuracy"
        if self.spec.target is not None:
            return checks.not_made(name, "the class of a grey image need not be the target")
        if self.subject.reading.refused:
            return checks.not_made(name, "the model may refuse a grey image")
        if self.todo and self.spec.domain is None:
            return checks.not_made(name, "the inputs have no domain, so that nothing lies half of it away")
        if HALF_DOMAIN not in self.probed:
            return checks.not_made(name, reason)
        broken = self.probed[HALF_DOMAIN].broken
        nearest = nearest_by_gradients(self.prepared, self.spec, self.apart, "Linf")
        if nearest is not None:
            broken = broken | (nearest <= 0.5)
        return checks.stands_at_half_domain(broken, self.prepared.label[self.rows])

    def _only_cross_entropy(self) -> list[str]:
        """Norms in which every white-box stage ascends the cross-entropy."""
        losses: dict[str, set[Loss]] = {}
        for stage in self.prepared.plan.stages:
            if stage.access == "white-box":
                losses.setdefault(stage.norm, set()).update(_losses(stage))
        return [norm for norm, used in losses.items() if used == {Loss.CROSS_ENTROPY}]

    def _about_threat(self, outcomes: Outcomes) -> Iterator[Check]:
        """Attacks alone against each other and against the cascade, over one threat's whole grid."""
        threat = outcomes.threat
        grid = Grid(threat, self.subject.space)
        stood = [
            (item.stages[0], grid.critical(self.apart[item.name].best[threat.norm].distance))
            for item in self.items
            if item.name in self.apart and item.stages[0].norm == threat.norm
        ]
        white = [(stage.name, position) for stage, position in stood if stage.access == "white-box"]
        blind = [(stage.name, position) for stage, position in stood if stage.access != "white-box"]
        cascade = grid.critical(outcomes.distance[self.rows])
        if not (white and blind):
            lacking = "attack that needs no gradient" if white else "white-box attack"
            yield checks.not_made("black-box-beats-white-box", f"no {lacking} ran alone in {threat.norm}")
        else:
            nearest = nearest_by_gradients(self.prepared, self.spec, self.apart, threat.norm)
            assert nearest is not None, "a white-box attack ran alone"
            together = grid.critical(nearest)
            for name, position in blind:
                pursued, at = self._pursued(threat.norm, name), (name, threat.norm, threat.eps)
                yield checks.beats_gradients(*at, position, together, cascade=cascade, pursued=pursued)
        complete = outcomes.complete[self.rows]
        for name, position in white:
            yield checks.beats_cascade(name, threat.norm, threat.eps, position[complete], cascade[complete])

    def _pursued(self, norm: Norm, name: str) -> np.ndarray | None:
        """What a longer gradient attack breaks of what white-box attacks left; (n,) bool, None where it was not needed."""
        probe = self.pursuits.get((norm, name))
        return None if probe is None else self._found(probe)

    def _found(self, probe: Probe) -> np.ndarray | None:
        """What a probe of some of the subsample breaks, (n,) bool; None where it has not ended."""
        if probe.stage.name not in self.probed:
            return None
        found = np.zeros(len(self.rows), dtype=bool)
        found[np.searchsorted(self.rows, probe.item.rows)] = self.probed[probe.stage.name].broken
        return found

    def _alone(self, stage: Stage, progress: Progress) -> dict[str, Any]:
        """The accuracy that one attack alone leaves on the subsample, per eps of its norm."""
        threat = next(t for t in self.spec.threats if t.norm == stage.norm)
        position = Grid(threat, self.subject.space).critical(progress.best[stage.norm].distance)
        accuracy = [float(np.mean(position >= level)) for level in range(len(threat.eps))]
        row = progress.rows[0]
        return self._row(stage, threat, accuracy, row) | crossed(stage, [row], self.spec)

    def _probe(self, probed: Probed) -> dict[str, Any]:
        return self._row(probed.stage, probed.threat, [float(np.mean(~probed.broken))], probed)

    def _row(self, stage: Stage, threat: Threat, accuracy: list[float], spent: StageRow | Probed) -> dict[str, Any]:
        return {
            "attack": stage.name,
            "norm": stage.norm,
            "access": self.prepared.gradient.seen_by(stage),
            "eps": list(threat.eps),
            "accuracy": accuracy,
            "forwards": spent.forwards,
            "backwards": spent.backwards,
        }


def _losses(stage: Stage) -> set[Loss]:
    """The losses that a stage ascends: those among its parameters, or its attack's defaults."""
    parameters = inspect.signature(CATALOGUE[stage.attack].function).parameters
    defaults = {name: parameters[name].default for name in ("loss", "losses") if name in parameters}
    chosen = {name: stage.parameters.get(name, default) for name, default in defaults.items()}
    return {chosen["loss"]} if "loss" in chosen else set(chosen.get("losses", ()))
