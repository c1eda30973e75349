"""The body of an audit: its preparation, its stages as they come, and the end of each slice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from auditor import queue
from auditor.audits.outcomes import Status
from auditor.audits.plan import Plan
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.operations.work import checkpoints, items
from auditor.queue import Claim
from auditor.store.queries import work as queries
from auditor.store.tables import Audit, Checkpoint, Stage

Arrays = Mapping[str, np.ndarray]
_COUNTS = ("tried", "broken", "claims", "refuted", "forwards", "backwards")


def prepared(service: Service, claim: Claim, answer: Mapping[str, Any], arrays: Arrays, seconds: float) -> None:
    """The audit is planned: its work items can be claimed, and every sampled example has a row per norm.

    answer: facts, and items, the names of the work items; arrays: index, label, predicted of the sampled examples.
    """
    inherited = _inherited(service, claim, answer)
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds)
        if audit is None:
            return
        audit.facts, audit.pending = dict(answer["facts"]), len(answer["items"])
        session.add_all(inherited)
        for threat in (audit.spec or {})["threats"]:
            queries.add_outcomes(session, list(_untried(audit.id, threat["norm"], arrays)))
        for name in answer["items"]:
            items.put(session, audit, "attack", name)
    service.ring()


def stage_done(service: Service, claim: Claim, facts: Mapping[str, Any], arrays: Arrays) -> None:
    """One stage of a slice has ended: its row, what is known of the slice's examples, and an event.

    The same stage may be told again by whoever went on after a kill; it then only replaces what is there.
    facts: position, attack, norm, access, the counts and seconds; arrays: NORM/COLUMN per norm, none of an attack alone.
    """
    with service.database.transaction() as session:
        queue.fence(session, claim, service.settings.lease)
        key = {"audit_id": claim.audit_id, "item": claim.name, "position": facts["position"]}
        told = session.get(Stage, tuple(key.values())) is not None
        columns = {name: facts[name] for name in ("attack", "norm", "access", "seconds", *_COUNTS)}
        session.merge(Stage(**key, **columns))
        for norm, rows in _found(arrays).items():
            queries.set_outcomes(session, str(claim.audit_id), norm, rows)
        if not told:
            done = queries.stages_done(session, str(claim.audit_id))
            counts = {name: facts[name] for name in ("attack", "norm", "tried", "broken", "seconds")}
            tell(session, str(claim.audit_id), "audit.stage", item=claim.name, done=done, **counts)


def attack_done(service: Service, claim: Claim, seconds: float) -> None:
    """All stages of a work item have ended; the last one's end puts `finish`."""
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds)
        if audit is not None:
            items.count_out(session, audit, 1)
    service.ring()


def out_of_time(service: Service, claim: Claim, why: str, seconds: float) -> None:
    """The audit's time budget is used up: what waits is cut, what runs ends by itself, and the rest are bounds."""
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds, state="cut")
        if audit is not None:
            audit.stopped = audit.stopped or why
            items.count_out(session, audit, 1 + queries.cut(session, audit.id))
    service.ring()


def _untried(audit_id: str, norm: str, arrays: Arrays) -> Iterator[dict[str, Any]]:
    columns = (arrays[name].tolist() for name in ("index", "label", "predicted"))
    for position, (example, label, predicted) in enumerate(zip(*columns, strict=True)):
        wrong = label != predicted
        yield {
            "audit_id": audit_id,
            "norm": norm,
            "position": position,
            "example": example,
            "label": label,
            "predicted": predicted,
            "status": str(Status.WRONG if wrong else Status.NOT_TRIED),
            "distance": 0.0 if wrong else None,
            "complete": wrong,
            "forwards": 0,
            "backwards": 0,
        }


def _found(arrays: Arrays) -> dict[str, list[dict[str, Any]]]:
    """Rows of outcomes per norm; numbers that are not finite become null."""
    norms: dict[str, dict[str, list[Any]]] = {}
    for name, array in arrays.items():
        norm, _, column = name.partition("/")
        norms.setdefault(norm, {})[column] = _classes(array) if column == "adversarial" else _plain(array)
    return {
        norm: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for norm, columns in norms.items()
    }


def _classes(array: np.ndarray) -> list[int | None]:
    """Classes by their numbers; a negative one is none."""
    return [label if label >= 0 else None for label in array.tolist()]


def _plain(array: np.ndarray) -> list[Any]:
    if array.dtype.kind == "f":
        return [value if np.isfinite(value) else None for value in array.tolist()]
    if array.dtype.kind == "U":
        return [text or None for text in array.tolist()]
    values: list[Any] = array.tolist()
    return values


def _inherited(service: Service, claim: Claim, answer: Mapping[str, Any]) -> Sequence[Checkpoint]:
    """Checkpoints of the audit that this one extends by examples: of the slices that are the same in both.

    A sample begins with every smaller one of its seed, so that full slices of one batch and one list of stages hold
    the same examples, and on machines of one arithmetic their results are the same to the bit.
    """
    with service.database.reading() as session:
        audit, *_ = queries.inputs(session, str(claim.audit_id))
        before = None if audit.extends_id is None else session.get(Audit, audit.extends_id)
    if before is None or not _differ_only_in_examples(before, audit):
        return []
    facts: dict[str, Any] = before.facts or {}
    old, new = facts["plan"], answer["facts"]["plan"]
    same_arithmetic = facts["fingerprint"] == answer["facts"]["fingerprint"]
    # A transfer attack uses the examples that are not audited, which are fewer now.
    if any(stage.access == "transfer" for stage in Plan.from_json(new).stages):
        return []
    if not same_arithmetic or any(
        old.get(part) != new.get(part) for part in ("batch", "threads", "stages", "others")
    ):
        return []
    pairs = zip(old["slices"], new["slices"], strict=False)
    numbers = [number for number, (one, other) in enumerate(pairs) if one == other]
    same = tuple(f"slice-{number:05}" for number in numbers)
    same += tuple(f"other-{number:05}" for number in numbers)
    return checkpoints.inherit(service, before.id, audit.id, same)


def _differ_only_in_examples(one: Audit, other: Audit) -> bool:
    def rest(audit: Audit) -> dict[str, Any]:
        return {name: value for name, value in (audit.spec or {}).items() if name != "examples"}

    return one.facts is not None and one.version_id == other.version_id and rest(one) == rest(other)
