"""The plan: what will run, in which order, at which batch shape. A function of specification, model, dataset and
device class, never of workers, free memory or the clock; so results do not depend on circumstances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from auditor import runtime
from auditor.attacks.stage import Stage
from auditor.audits.presets import chosen_stages
from auditor.errors import SpecError
from auditor.spec import AuditSpec
from auditor.threats.threat import OtherThreat

# Slices hold several batches, so that attacks pack their survivors into full ones, and stay small enough that a
# kill loses little.
BATCHES_PER_SLICE = 4
DIAGNOSIS_EXAMPLES = 100


@dataclass(frozen=True)
class Plan:
    """stages in order; batch: rows per pass; slices: [start, stop) positions among the sampled examples; others: threats
    beside the norms, on each slice; whole: those that look at all slices at once."""

    stages: tuple[Stage, ...]
    batch: int
    slices: tuple[tuple[int, int], ...]
    threads: int
    others: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @property
    def draws(self) -> int:
        """How many passes each pass of an attack averages."""
        return self.stages[0].draws

    def as_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "threads": self.threads,
            "slices": [list(s) for s in self.slices],
            "stages": [stage.as_json() for stage in self.stages],
            "others": list(self.others),
            "whole": list(self.whole),
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Plan":
        return cls(
            stages=tuple(Stage(**stage) for stage in facts["stages"]),
            batch=facts["batch"],
            slices=tuple((start, stop) for start, stop in facts["slices"]),
            threads=facts["threads"],
            others=tuple(facts.get("others", ())),
            whole=tuple(facts.get("whole", ())),
        )


def make_plan(
    spec: AuditSpec,
    examples: int,
    *,
    batch: int,
    gradient: bool,
    label_only: bool = False,
    random: bool = False,
    trees: bool = False,
    others: Sequence[OtherThreat] = (),
) -> Plan:
    """The plan for `examples` sampled examples. `batch` is the shape that the plain graph reached; without a
    gradient only attacks that need none remain. gradient, label_only, random, trees: see `chosen_stages`."""
    chosen = chosen_stages(spec, gradient=gradient, label_only=label_only, random=random, trees=trees)
    stages = tuple(s for s in chosen if can_run(s, gradient, trees))
    if not stages:
        raise SpecError(
            "none of the chosen attacks can run on this model, which has no gradient or is no sum of trees; add --attack "
            "square or --attack hop-skip-jump"
        )
    size = batch * BATCHES_PER_SLICE
    slices = tuple((start, min(start + size, examples)) for start in range(0, examples, size))
    beside = [threat for threat in others if gradient or threat.access != "white-box"]
    return Plan(
        stages,
        batch,
        slices,
        spec.threads or default_threads(),
        others=tuple(threat.name for threat in beside if threat.learn is None),
        whole=tuple(threat.name for threat in beside if threat.learn is not None),
    )


def can_run(stage: Stage, gradient: bool, trees: bool) -> bool:
    """Whether a stage finds in the model what it follows."""
    return {"white-box": gradient, "structure": trees}.get(stage.access, True)


def default_batch(shape: tuple[int, ...]) -> int:
    """Rows per pass where the caller names none: fewer for larger inputs, so that activations fit in memory."""
    size = prod(shape)
    for limit, batch in ((4_096, 32), (32_768, 16), (200_000, 8)):
        if size <= limit:
            return batch
    return 4


def default_threads() -> int:
    """The processors that this process may use."""
    return runtime.processors()
