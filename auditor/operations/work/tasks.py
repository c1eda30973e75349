"""What a worker has to know of an audit before it can do a part of it."""

from dataclasses import dataclass
from typing import Any

from auditor import queue
from auditor.operations.errors import Gone
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.queue import Claim
from auditor.store.database import now
from auditor.store.queries import audits
from auditor.store.queries import work as queries


@dataclass(frozen=True)
class File:
    """Bytes in the artifact store, and the name under which a user knows them."""

    sha256: str
    filename: str


@dataclass(frozen=True)
class StandIn:
    """A surrogate. normalisation: the options mean and std, where they were given for it."""

    file: File
    normalisation: dict[str, str]


@dataclass(frozen=True)
class Task:
    """An audit as its child needs it. subject_sha256: as settled, None before; began: seconds since 1970, None before
    the preparation; seconds_left: of its time budget, None without one; stopped: why it has ended early."""

    model: File
    data: File
    words: dict[str, Any]
    baseline: File | None
    surrogates: tuple[StandIn, ...]
    subject_sha256: str | None
    began: float | None
    seconds_left: float | None
    stopped: str | None


def task(service: Service, claim: Claim) -> Task:
    """What the item's audit is about. The first item after settling starts the audit's clock.

    Raises Gone when the report that it is to be compared with has been removed.
    """
    if claim.kind == "prepare":
        _begin(service, claim)
    with service.database.reading() as session:
        audit, version, dataset, at = queries.inputs(session, str(claim.audit_id))
        baseline = None
        if audit.baseline_id is not None:
            found = queries.report(session, audit.baseline_id)
            if found is None:
                raise Gone("the baseline's report has been removed; name an audit whose report is there")
            baseline = File(found, "report.json")
        return Task(
            model=File(version.sha256, version.filename),
            data=File(dataset.sha256, dataset.filename),
            words=audit.words,
            baseline=baseline,
            surrogates=tuple(
                StandIn(File(other.sha256, other.filename), named.normalisation)
                for named, other in audits.surrogates(session, audit.id)
            ),
            subject_sha256=audit.subject_sha256,
            began=audit.started_at,
            seconds_left=_left(audit.spec, audit.started_at, at),
            stopped=audit.stopped,
        )


def _begin(service: Service, claim: Claim) -> None:
    with service.database.transaction() as session:
        queue.fence(session, claim, service.settings.lease)
        audit = queries.lock(session, str(claim.audit_id))
        if audit.state == "queued":
            audit.state, audit.started_at = "running", now()
            tell(session, audit.id, "audit.running")


def _left(spec: dict[str, Any] | None, began: float | None, at: float) -> float | None:
    seconds = None if spec is None else spec["budget"]["seconds"]
    return None if seconds is None or began is None else seconds - (at - began)
