"""The queue of work items. The database is its record; a broker is only a doorbell.

A claim is a lease: its owner extends it by heartbeats, and whoever finds it expired puts the item back. Every function
runs inside the caller's transaction, and what changes a claimed item is fenced: once the item is no longer this
claim's, LeaseLost is raised and the transaction must be given up. All times are by the database's clock.

    with database.transaction() as session:
        claim = queue.claim(session, "worker-1", kinds=KINDS, devices=("cpu",), lease=60)
    ...  # the work, with a heartbeat every quarter of the lease
    with database.transaction() as session:
        queue.end(session, claim, "done", seconds=12.3)
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from auditor.errors import AuditorError
from auditor.store.database import now
from auditor.store.queries import items
from auditor.store.tables import Item

POISON = 3  # deaths of an item's own child
LOSSES = 20  # leases that ran out or were freed, files that a worker could not write: it says more of machines
STARVING = 10.0  # seconds without a claim after which a project with nothing at work comes before warm children

_URGENT = ("check", "settle")  # take seconds, and somebody waits for the answer
_METERED = ("prepare", "attack")  # held back where the quota of compute-seconds is used up
_WAITS = tuple(min(60.0, 2.0**n) for n in range(LOSSES))  # seconds
_AFTER_DEATH = dict(enumerate(_WAITS, start=1))
_AFTER_LOSS = dict(enumerate((0.0, *_WAITS), start=1))  # the first may be claimed again at once


class LeaseLost(AuditorError):
    """The item is no longer this claim's: whatever was done for it must be discarded."""


@dataclass(frozen=True)
class Claim:
    """A work item in the hands of `owner`, for the attempt-th time in anyone's."""

    id: str
    attempt: int
    owner: str
    kind: str
    name: str
    project_id: str
    audit_id: str | None
    version_id: str | None
    dataset_id: str | None
    device: str
    deaths: int


@dataclass(frozen=True)
class Ended:
    """An item that nobody will try again."""

    id: str
    audit_id: str | None
    kind: str
    name: str
    error: str


def put(
    session: Session,
    *,
    project_id: str,
    kind: str,
    name: str,
    audit_id: str | None = None,
    version_id: str | None = None,
    dataset_id: str | None = None,
    device: str = "cpu",
    priority: int = 0,
) -> None:
    """Queue an item about exactly one of an audit, a version and a dataset. An audit has one item of a name."""
    about = {"audit_id": audit_id, "version_id": version_id, "dataset_id": dataset_id}
    items.add(session, project_id=project_id, kind=kind, name=name, device=device, priority=priority, **about)


def claim(
    session: Session,
    owner: str,
    *,
    kinds: Sequence[str],
    devices: Sequence[str],
    lease: float,
    prefer: str | None = None,
) -> Claim | None:
    """The next item for this worker, or None. lease: seconds.

    What somebody waits for first; then the project with the fewest items at work, of these the one served least
    recently; of its items the one of the highest priority, then the oldest. prefer: an audit that comes first, because
    this worker's child has it open, until its project has an item of a higher priority, somebody waits for one, or
    another project starves. No priority outranks another project. Projects that have used up their quota of
    compute-seconds get no further slices.
    """
    lanes = sorted(items.lanes(session, kinds, devices, _METERED), key=_order)
    places = [items.in_lane(lane) for lane in lanes]
    if prefer is not None:
        warm = items.first_of_audit(session, prefer, kinds, devices)
        if warm is not None and _stays_warm(warm, lanes):
            places.insert(0, (*items.in_lane(warm), Item.audit_id == prefer))
    for place in places:
        taken = items.take(session, owner, lease, place)
        if taken is not None:
            return Claim(*taken)
    return None


def fence(session: Session, claim: Claim, lease: float) -> None:
    """Lock the item until the transaction ends and extend its lease. Raises LeaseLost."""
    _held(items.change(session, _of(claim), lease_until=now() + lease), claim)


def heartbeat(session: Session, claim: Claim, lease: float) -> bool:
    """Extend the lease; False when the item's audit is over or being cancelled: stop at once. Raises LeaseLost."""
    fence(session, claim, lease)
    return claim.audit_id is None or not items.is_over(session, claim.audit_id)


def end(session: Session, claim: Claim, state: str, *, seconds: float, error: str | None = None) -> None:
    """End the item. state: done, poisoned, cut or cancelled; seconds: of compute. Raises LeaseLost."""
    ended = {"state": state, "finished_at": now(), "lease_until": None, "error": error}
    _held(items.change(session, _of(claim), seconds=Item.seconds + seconds, **ended), claim)


def died(session: Session, claim: Claim, error: str) -> bool:
    """The item's child died: queued again after a wait, or poisoned by its last death, which gives True.

    Raises LeaseLost.
    """
    return _again(session, claim, counter=Item.deaths, limit=POISON, waits=_AFTER_DEATH, error=error)


def lost(session: Session, claim: Claim, error: str) -> bool:
    """The item could not be done for a reason that lies outside it: counted and released as a lost lease is; whether
    that was once too often and it is poisoned. Raises LeaseLost."""
    return _again(session, claim, counter=Item.losses, limit=LOSSES + 1, waits=_AFTER_LOSS, error=error)


def give_back(session: Session, claim: Claim) -> None:
    """Queue the item again at once, with nothing counted: an orderly shutdown. Raises LeaseLost."""
    _held(items.change(session, _of(claim), state="queued", owner=None, lease_until=None, not_before=0.0), claim)


def sweep(session: Session) -> list[Ended]:
    """Queue items again whose lease ran out; gives those that were lost too often and are poisoned."""
    return _lost(session, items.expired(), "the lease of its worker ran out")


def free(session: Session, owner: str) -> list[Ended]:
    """The same at once for all items of an owner that is known to be dead."""
    return _lost(session, items.held_by(owner), "its worker died")


def cancel(session: Session, audit_id: str) -> int:
    """End what is queued of an audit; gives how many items are still at work, and stop at their next heartbeat once
    the audit's state says so."""
    items.cancel(session, audit_id)
    return items.running(session, audit_id)


def doorbell(redis_url: str) -> Callable[[], None]:
    """What rings for idle workers: one message that carries nothing, to the Celery task `auditor.ring`.

    It never raises and waits for no more than about a second: a ring that is lost only costs the time until workers
    look by themselves. Without a URL it does nothing.
    """
    if not redis_url:
        return lambda: None
    from celery import Celery

    once = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app = Celery("auditor", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_default_queue="auditor",
        task_ignore_result=True,
        broker_transport_options={"socket_connect_timeout": 0.5, "socket_timeout": 0.5, **once},
    )

    def ring() -> None:
        with suppress(Exception):  # whatever is wrong with the broker, the work itself is safe in the database
            app.send_task("auditor.ring", ignore_result=True, retry=False, expires=60)

    return ring


def _order(lane: Any) -> tuple[Any, ...]:
    fairness = lane.running, lane.served, lane.project_id
    return lane.kind not in _URGENT, *fairness, -lane.priority, lane.id


def _stays_warm(warm: Any, lanes: Iterable[Any]) -> bool:
    """Whether a worker goes on with the audit that its child has open; `warm` is that audit's first item."""
    here = (warm.project_id, warm.kind, warm.device)
    claimable = any((lane.project_id, lane.kind, lane.device) == here for lane in lanes)
    return claimable and not any(_precedes(lane, warm) for lane in lanes)


def _precedes(lane: Any, warm: Any) -> bool:
    urgent = lane.kind in _URGENT
    if urgent != (warm.kind in _URGENT):
        return urgent
    if lane.project_id == warm.project_id:
        return bool(lane.priority > warm.priority)
    return lane.running == 0 and lane.at - lane.served > STARVING


def _again(session: Session, claim: Claim, **counted: Any) -> bool:
    _held(items.lock(session, _of(claim)), claim)
    released = items.release(session, _of(claim), **counted)
    return bool(released[0].state == "poisoned")


def _lost(session: Session, where: items.Where, error: str) -> list[Ended]:
    released = items.release(session, where, counter=Item.losses, limit=LOSSES + 1, waits=_AFTER_LOSS, error=error)
    poisoned = (row for row in released if row.state == "poisoned")
    return [Ended(row.id, row.audit_id, row.kind, row.name, row.error) for row in sorted(poisoned, key=_by_audit)]


def _by_audit(row: Any) -> tuple[str, str]:
    return row.audit_id or "", row.id  # one order, so that two sweeps lock audits without a deadlock


def _of(claim: Claim) -> items.Where:
    return items.claimed(claim.id, claim.owner, claim.attempt)


def _held(still: bool, claim: Claim) -> None:
    if not still:
        raise LeaseLost(f"attempt {claim.attempt} of {claim.kind} item {claim.id} is no longer {claim.owner}'s")
