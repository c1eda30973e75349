"""The plan: what will run, in which order, at which batch shape. A function of specification, model, dataset and
device class, never of workers, free memory or the clock; so results do not depend on circumstances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from auditor import runtime
from auditor.attacks.cascade import Stage
from auditor.attacks.catalogue import CATALOGUE
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Norm, Preset

# One stage: (name, attack, norms it is for, parameters). Cheap minimal-norm passes come first: they settle most of
# the curve, and leave to the fixed-budget attacks only the grid point next to each example's distance.
_Row = tuple[str, str, tuple[Norm, ...], Mapping[str, Any]]

_ALL: tuple[Norm, ...] = ("Linf", "L2", "L1")

PRESETS: dict[Preset, tuple[_Row, ...]] = {
    "quick": (
        ("ddn", "ddn", ("L2",), {"steps": 40}),
        ("minimal-apgd", "minimal-apgd", ("Linf", "L1"), {"steps": 40}),
        ("square", "square", _ALL, {"queries": 100}),
    ),
    "standard": (
        ("ddn", "ddn", ("L2",), {"steps": 100}),
        ("minimal-apgd", "minimal-apgd", ("Linf", "L1"), {"steps": 100}),
        ("apgd-ce", "apgd", _ALL, {"steps": 100}),
        ("apgd-targeted", "apgd-targeted", _ALL, {"steps": 100, "targets": 9}),
        ("square", "square", _ALL, {"queries": 1000}),
    ),
}

# Slices hold several batches, so that attacks pack their survivors into full ones, and stay small enough that a
# kill loses little.
BATCHES_PER_SLICE = 4
DIAGNOSIS_EXAMPLES = 100


@dataclass(frozen=True)
class Plan:
    """stages in order; batch: rows per pass; slices: [start, stop) positions among the sampled examples."""

    stages: tuple[Stage, ...]
    batch: int
    slices: tuple[tuple[int, int], ...]
    threads: int

    def as_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "threads": self.threads,
            "slices": [list(s) for s in self.slices],
            "stages": [
                {"name": s.name, "attack": s.attack, "norm": s.norm, "parameters": dict(s.parameters)}
                for s in self.stages
            ],
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Plan":
        return cls(
            stages=tuple(Stage(**stage) for stage in facts["stages"]),
            batch=facts["batch"],
            slices=tuple((start, stop) for start, stop in facts["slices"]),
            threads=facts["threads"],
        )


def make_plan(spec: AuditSpec, examples: int, *, batch: int, gradient: bool) -> Plan:
    """The plan for `examples` sampled examples. `batch` is the shape that the plain graph reached; without a
    gradient only attacks that need none remain."""
    stages = tuple(s for s in chosen_stages(spec) if gradient or s.access != "white-box")
    if not stages:
        raise SpecError("none of the chosen attacks can run without gradients; add --attack square")
    size = batch * BATCHES_PER_SLICE
    slices = tuple((start, min(start + size, examples)) for start in range(0, examples, size))
    return Plan(stages, batch, slices, spec.threads or default_threads())


def chosen_stages(spec: AuditSpec) -> list[Stage]:
    """The preset's stages for the norms asked for, or those of the attacks named."""
    norms = [threat.norm for threat in spec.threats]
    if spec.attacks:
        return [stage for norm in norms for stage in _named(spec.attacks, norm)]
    return [
        Stage(name, attack, norm, parameters)
        for norm in norms
        for name, attack, serves, parameters in PRESETS[spec.preset]
        if norm in serves
    ]


def _named(attacks: tuple[str, ...], norm: Norm) -> list[Stage]:
    """Stages for attacks by catalogue name or by the name of one of `standard`'s stages."""
    stages = []
    known = {row[0]: row for row in PRESETS["standard"]}
    for name in attacks:
        if name not in CATALOGUE and name not in known:
            raise SpecError(f"there is no attack '{name}'; choose from {', '.join(sorted({*CATALOGUE, *known}))}")
        _, attack, _, parameters = known.get(name, (name, name, (), {}))
        if norm in CATALOGUE[attack].norms:
            stages.append(Stage(name, attack, norm, parameters))
    if not stages:
        raise SpecError(f"none of the attacks {', '.join(attacks)} works in {norm}")
    return stages


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
