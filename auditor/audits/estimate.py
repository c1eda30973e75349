"""What an audit can cost at most, before it begins: passes from the attacks' own budgets, seconds from a measured pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor.attacks.catalogue import CATALOGUE, Passes
from auditor.attacks.stage import Stage
from auditor.attacks.targeted import Targeted
from auditor.audits.plan import DIAGNOSIS_EXAMPLES, can_run
from auditor.audits.planted import EXAMPLES as PLANTED_EXAMPLES
from auditor.audits.planted import passes_at_most as planted_at_most
from auditor.audits.presets import chosen_stages
from auditor.audits.probes import passes_at_most, pursuits_at_most
from auditor.spec import AuditSpec
from auditor.threats.threat import OtherThreat

_NOTE = (
    "an upper bound of the attacks' passes: most examples are broken early and cost far less. The attacks' own "
    "arithmetic and the re-checks of finds on the upload come on top; they outweigh the passes of a very small model. "
    "So do, with levels or constraints, the passes that bring finds nearer, and the training of a surrogate where an "
    "attack needs one and none is named"
)


@dataclass(frozen=True)
class Speed:
    """Seconds per example of a forward pass, and of a forward and a backward pass together."""

    forward: float
    gradient: float


def estimate(
    spec: AuditSpec,
    *,
    examples: int,
    classes: int,
    gradient: bool = True,
    label_only: bool = False,
    random: bool = False,
    trees: bool = False,
    speed: Speed | None = None,
    others: Sequence[OtherThreat] = (),
) -> dict[str, Any]:
    """At most what an audit of `examples` examples costs, ready for JSON. gradient, label_only, random, trees: see
    `chosen_stages`.

    passes_at_most: forwards and backwards of all examples in the cascade, in the diagnosis and under `others`. Where speed was
    measured: pass_seconds_at_most, within the budget of time if there is one, and seconds_per_pass; the note says what
    is not in them.
    """
    chosen = chosen_stages(spec, gradient=gradient, label_only=label_only, random=random, trees=trees)
    if spec.target is not None:
        classes = Targeted.classes
    stages = [stage for stage in chosen if can_run(stage, gradient, trees)]
    draws = chosen[0].draws
    apart = _all(spec, stages, classes) + (
        passes_at_most(spec, classes, draws) + pursuits_at_most(stages, classes) if gradient else Passes()
    )
    passes = _cascade(spec, stages, classes) * examples + apart * min(examples, DIAGNOSIS_EXAMPLES)
    beside = [_of_threat(threat, draws) for threat in others if gradient or threat.access != "white-box"]
    passes += sum(beside, start=Passes()) * examples
    if draws == 1:
        passes += planted_at_most(spec, tuple(stages)) * min(examples, PLANTED_EXAMPLES)
    seconds = None if speed is None else _seconds(passes, speed)
    per_pass = None if seconds is None else seconds / max(passes.total, 1)
    if seconds is not None and spec.budget.seconds is not None:
        seconds = min(seconds, spec.budget.seconds)
    return {
        "examples": examples,
        "passes_at_most": passes.total,
        "pass_seconds_at_most": seconds,
        "seconds_per_pass": per_pass,
        "note": _NOTE,
    }


def _of_threat(threat: OtherThreat, draws: int) -> Passes:
    """What follows gradients averages them; what is learnt draws once a step."""
    return threat.at_most * (draws if threat.access == "white-box" and threat.learn is None else 1)


def _seconds(passes: Passes, speed: Speed) -> float:
    return (passes.forwards - passes.backwards) * speed.forward + passes.backwards * speed.gradient


def _cascade(spec: AuditSpec, stages: Sequence[Stage], classes: int) -> Passes:
    """Of one example. One that has spent its budget is left out of the stages to come, not of the one it is in."""
    most = _all(spec, stages, classes)
    if spec.budget.passes is None:
        return most
    limit = spec.budget.passes - 1 + max((_of_stage(spec, stage, classes).total for stage in stages), default=0)
    return most if most.total <= limit else Passes(limit - limit // 2, limit // 2)


def _all(spec: AuditSpec, stages: Sequence[Stage], classes: int) -> Passes:
    return sum((_of_stage(spec, stage, classes) for stage in stages), start=Passes())


def _of_stage(spec: AuditSpec, stage: Stage, classes: int) -> Passes:
    """A fixed-budget attack runs again after each success, at the next smaller eps of the grid."""
    entry = CATALOGUE[stage.attack]
    grid = next(len(threat.eps) for threat in spec.threats if threat.norm == stage.norm)
    followed = max(len(spec.surrogates), 1) if entry.access == "transfer" else 1
    return (
        entry.at_most(stage.parameters, classes) * (grid if entry.budget == "fixed" else 1) * followed * stage.draws
    )
