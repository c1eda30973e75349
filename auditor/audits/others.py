"""The threats beside the norms: each on every slice, saved as it ends, in work items of their own."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.attacks.catalogue import Passes
from auditor.audits.checkpoints import Checkpoints
from auditor.audits.prepare import Prepared
from auditor.audits.run import Engine
from auditor.threats.judge import Judged
from auditor.threats.threat import NOTHING

COUNTS = ("claims", "refuted")


@dataclass(frozen=True)
class OtherItem:
    """Rows of the sample under one or more threats, named."""

    name: str
    rows: np.ndarray
    threats: tuple[str, ...]


@dataclass(frozen=True)
class OtherResult:
    """What became of an item's rows, in their order. halvings: see StageRow. learning: what was spent on other
    examples."""

    judged: Judged
    seconds: float
    halvings: int
    learning: Passes = NOTHING


@dataclass(frozen=True)
class OtherStep:
    """One threat of one work item has ended, for whoever watches."""

    item: OtherItem
    threat: str
    access: str
    result: OtherResult
    done: int
    total: int

    @property
    def title(self) -> str:
        return self.threat

    def counts(self, right: np.ndarray) -> dict[str, int]:
        """Examples tried, and those right when clean and broken; claims, refuted and passes. right: of all sampled."""
        judged, clean = self.result.judged, right[self.item.rows]
        return {
            "tried": len(clean),
            "broken": int(np.sum(clean & ~judged.standing.all(axis=1))),
            **{name: getattr(judged, name) for name in COUNTS},
            "forwards": int(judged.forwards.sum()) + self.result.learning.forwards,
            "backwards": int(judged.backwards.sum()) + self.result.learning.backwards,
        }


def other_items(prepared: Prepared) -> list[OtherItem]:
    """One work item per slice, and one per threat that looks at all slices at once."""
    plan, everyone = prepared.plan, np.arange(len(prepared.index))
    sliced = [
        OtherItem(f"other-{number:05}", np.arange(start, stop), plan.others)
        for number, (start, stop) in enumerate(plan.slices)
        if plan.others
    ]
    return sliced + [OtherItem(f"whole-{name}", everyone, (name,)) for name in plan.whole]


def run_others(engine: Engine, items: list[OtherItem], checkpoints: Checkpoints) -> Iterator[OtherStep]:
    """Run what is missing, threat by threat over all items, saving each; yields all, those found finished included.
    Raises OutOfTime when the wall-time budget ends."""
    total, done = sum(len(item.threats) for item in items), 0
    for depth in range(max((len(item.threats) for item in items), default=0)):
        for item in items:
            if depth >= len(item.threats):
                continue
            name = item.threats[depth]
            result = load_result(checkpoints, item, name)
            if result is None:
                result = _run(engine, item, name)
                _save(checkpoints, item, name, result)
            done += 1
            access = engine.prepared.gradient.seen_beside(engine.others[name])
            yield OtherStep(item, name, access, result, done, total)


def load_result(checkpoints: Checkpoints, item: OtherItem, threat: str) -> OtherResult | None:
    """What was kept of one threat on one item, or None."""
    stored = checkpoints.load_facts(frame(item.name, threat))
    if stored is None:
        return None
    arrays, facts = stored
    judged = Judged(**arrays, **{name: facts[name] for name in COUNTS})  # type: ignore[arg-type]
    return OtherResult(judged, facts["seconds"], facts["halvings"], Passes(*facts["learning"]))


def load_results(checkpoints: Checkpoints, items: list[OtherItem]) -> Mapping[tuple[str, str], OtherResult]:
    """What was kept, by the names of work item and threat."""
    found = {(item.name, name): load_result(checkpoints, item, name) for item in items for name in item.threats}
    return {key: result for key, result in found.items() if result is not None}


def frame(item: str, threat: str) -> str:
    """The name under which a threat's result on a work item is kept."""
    return f"{item}-{threat}"


def _run(engine: Engine, item: OtherItem, name: str) -> OtherResult:
    started = time.monotonic()
    judged = engine.judge(name, item.rows)
    return OtherResult(judged, time.monotonic() - started, engine.halvings, engine.learning(name))


def _save(checkpoints: Checkpoints, item: OtherItem, name: str, result: OtherResult) -> None:
    learning = [result.learning.forwards, result.learning.backwards]
    facts: dict[str, Any] = {"seconds": result.seconds, "halvings": result.halvings, "learning": learning}
    arrays: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(Judged):
        value = getattr(result.judged, field.name)
        (facts if field.name in COUNTS else arrays)[field.name] = value
    checkpoints.save_facts(frame(item.name, name), facts, **arrays)
