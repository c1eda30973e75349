"""What is the same for every work item: how it is claimed, kept, and how it ends without a result."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from auditor import queue
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.queue import Claim
from auditor.store.database import now
from auditor.store.queries import spending
from auditor.store.queries import work as queries
from auditor.store.tables import Audit, Dataset, Item, Version


def claim(
    service: Service, owner: str, *, kinds: Sequence[str], devices: Sequence[str], prefer: str | None = None
) -> Claim | None:
    """The next work item for this worker, if there is one. prefer: the audit whose child is warm."""
    with service.database.transaction() as session:
        lease = service.settings.lease
        return queue.claim(session, owner, kinds=kinds, devices=devices, lease=lease, prefer=prefer)


def heartbeat(service: Service, claim: Claim) -> bool:
    """Keep the item for another lease; False when its audit is being cancelled."""
    with service.database.transaction() as session:
        return queue.heartbeat(session, claim, service.settings.lease)


def give_back(service: Service, claim: Claim, seconds: float) -> None:
    """An orderly shutdown: somebody else goes on from the last checkpoint, and nothing counts against the item."""
    with service.database.transaction() as session:
        queue.give_back(session, claim)
        queries.spend(session, claim.id, claim.audit_id, seconds)
    service.ring()


def died(service: Service, claim: Claim, error: str, seconds: float) -> None:
    """The item's child process died, or could not do its work for a reason that may pass: try again, or give up.

    error: its first line is for users, the lines below for the operator.
    """
    with service.database.transaction() as session:
        _again(session, claim, queue.died(session, claim, error), seconds)
    service.ring()


def lost(service: Service, claim: Claim, error: str, seconds: float) -> None:
    """The same where the worker failed, for want of disk or network, say: it is tried for longer."""
    with service.database.transaction() as session:
        _again(session, claim, queue.lost(session, claim, error), seconds)
    service.ring()


def refused(service: Service, claim: Claim, kind: str, detail: str, seconds: float) -> None:
    """The model, the data or the request is not acceptable: the item is done, and what it was about says why."""
    with service.database.transaction() as session:
        if claim.audit_id is None:
            queue.end(session, claim, "done", seconds=seconds, error=detail)
            _refuse(session, claim.version_id, claim.dataset_id, detail)
        elif claim.kind == "attack":
            queue.end(session, claim, "poisoned", seconds=0.0, error=detail)
            queries.spend(session, claim.id, claim.audit_id, seconds)
            _give_up(session, claim.id)
        elif (audit := end(session, claim, seconds, error=detail)) is not None:
            _fail(session, audit, kind, detail)
    service.ring()


def cancelled(service: Service, claim: Claim, seconds: float) -> None:
    """The item was stopped because its audit is being cancelled."""
    with service.database.transaction() as session:
        end(session, claim, seconds, state="cancelled")


def sweep(service: Service) -> None:
    """Put items whose lease ran out back into the queue, and end the audits that only waited for them."""
    with service.database.transaction() as session:
        for ended in queue.sweep(session):
            _give_up(session, ended.id)
    with service.database.transaction() as session:  # another one, so that all sweeps lock audits in one order
        for audit_id in queries.cancelling(session):
            _close_if_cancelled(session, queries.lock(session, audit_id))


def free(service: Service, owner: str) -> None:
    """The same at once for a worker that is known to be dead."""
    with service.database.transaction() as session:
        for ended in queue.free(session, owner):
            _give_up(session, ended.id)
        queries.forget_worker(session, owner)
    service.ring()


def end(
    session: Session, claim: Claim, seconds: float, *, state: str = "done", error: str | None = None
) -> Audit | None:
    """End an item of an audit. Gives the audit, locked; None when it is being cancelled, and nothing may follow."""
    queue.end(session, claim, state, seconds=seconds, error=error)
    audit = queries.lock(session, str(claim.audit_id))
    spending.add(session, audit.project_id, seconds)
    audit.seconds += seconds
    return None if _close_if_cancelled(session, audit) else audit


def count_out(session: Session, audit: Audit, items: int) -> None:
    """That many items of the attack have ended; after the last one the audit can be finished."""
    audit.pending -= items
    if audit.pending == 0:
        put(session, audit, "finish")


def put(session: Session, audit: Audit, kind: str, name: str | None = None) -> None:
    """Put a work item of a settled audit into the queue. name: of an attack, the engine's; else the kind."""
    queue.put(
        session,
        project_id=audit.project_id,
        audit_id=audit.id,
        kind=kind,
        name=name or kind,
        device=str((audit.spec or {})["device"]),
        priority=audit.priority,
    )


def _again(session: Session, claim: Claim, poisoned: bool, seconds: float) -> None:
    queries.spend(session, claim.id, claim.audit_id, seconds)
    if poisoned:
        _give_up(session, claim.id)
    elif claim.audit_id is not None:
        _close_if_cancelled(session, queries.lock(session, claim.audit_id))


def _close_if_cancelled(session: Session, audit: Audit) -> bool:
    """Whether the audit is being cancelled; after its last running item it is cancelled for good."""
    if audit.state == "cancelling" and not queries.running(session, audit.id):
        queue.cancel(session, audit.id)
        audit.state, audit.finished_at = "cancelled", now()
        tell(session, audit.id, "audit.cancelled")
    return audit.state in ("cancelling", "cancelled")


def _give_up(session: Session, item_id: str) -> None:
    """A poisoned item: an attack's examples stay as bounds; without anything else the audit cannot go on."""
    item = session.get_one(Item, item_id, populate_existing=True)
    error = (item.error or "").partition("\n")[0]  # what follows tells of the inside
    why = f"{item.name} was given up after {item.deaths} deaths and {item.losses} losses of its process: {error}"
    if item.audit_id is None:
        _refuse(session, item.version_id, item.dataset_id, why)
        return
    audit = queries.lock(session, item.audit_id)
    if _close_if_cancelled(session, audit):
        return
    if item.kind == "attack":
        audit.stopped = audit.stopped or why
        count_out(session, audit, 1)
    else:
        _fail(session, audit, "given-up", why)


def _fail(session: Session, audit: Audit, kind: str, detail: str) -> None:
    audit.state, audit.finished_at, audit.problem = "failed", now(), {"type": kind, "detail": detail}
    tell(session, audit.id, "audit.failed", problem=audit.problem)


def _refuse(session: Session, version_id: str | None, dataset_id: str | None, reason: str) -> None:
    row: Version | Dataset = (
        session.get_one(Version, version_id) if version_id else session.get_one(Dataset, dataset_id)
    )
    row.state, row.reason = "refused", reason
