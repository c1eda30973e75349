"""What a worker does for each kind of work item: ask for what it needs, have the child do it, save what came of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from auditor.logs import log
from auditor.operations.service import Service
from auditor.operations.work import attacking, checks, finishing, settling
from auditor.operations.work.tasks import Task, task
from auditor.queue import Claim
from auditor.workers.desk import Desk

Stop = Callable[[], bool]
Spent = Callable[[], float]


def do(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    """Do one work item and save its result. stop: asked several times a second; spent: seconds of work so far.

    Raises LeaseLost, and what Child.call and the copies of the inputs raise.
    """
    _STEPS[claim.kind](service, claim, desk, stop, spent)


def _check(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    asked = checks.check(service, claim)
    kind = "check-dataset" if asked.choice is None else "check-model"
    path = desk.file(asked.file, "model" if claim.version_id else "data", stop)
    command = {"do": kind, "path": str(path), "name": asked.file.filename, **(asked.choice or {})}
    checks.checked(service, claim, desk.call(claim, command, stop), spent())


def _settle(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    settling.settled(service, claim, desk.open(claim, task(service, claim), stop), spent())


def _prepare(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    _open(service, claim, desk, stop)
    sampled: dict[str, np.ndarray] = {}
    answer = desk.call(claim, {"do": "prepare"}, stop, lambda facts, arrays: sampled.update(arrays))
    attacking.prepared(service, claim, answer, sampled, spent())


def _attack(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    audit = _open(service, claim, desk, stop)
    command = {"do": "attack", "item": claim.name, "seconds_left": audit.seconds_left}
    desk.call(claim, command, stop, lambda facts, arrays: attacking.stage_done(service, claim, facts, arrays))
    attacking.attack_done(service, claim, spent())


def _finish(service: Service, claim: Claim, desk: Desk, stop: Stop, spent: Spent) -> None:
    audit = _open(service, claim, desk, stop)
    out = desk.out(claim)
    command = {
        "do": "finish",
        "id": claim.audit_id,
        "started_at": datetime.fromtimestamp(audit.began or 0.0, UTC).isoformat(timespec="seconds"),
        "stopped": audit.stopped,
        "margin": audit.words.get("margin", 0.02),
        "pictures": not audit.words.get("no_examples", False),
        "out": str(out),
        "seconds_left": audit.seconds_left,
    }
    finishing.finished(service, claim, out, desk.call(claim, command, stop), spent())


def _open(service: Service, claim: Claim, desk: Desk, stop: Stop) -> Task:
    audit = task(service, claim)
    facts = desk.open(claim, audit, stop)
    if audit.subject_sha256 not in (None, facts["subject_sha256"]):
        log.warning("audit.mixed", settled=audit.subject_sha256, here=facts["subject_sha256"])
        settling.mixed(service, claim)
    return audit


_STEPS: dict[str, Callable[[Service, Claim, Desk, Stop, Spent], Any]] = {
    "check": _check,
    "settle": _settle,
    "prepare": _prepare,
    "attack": _attack,
    "finish": _finish,
}
KINDS = tuple(_STEPS)
