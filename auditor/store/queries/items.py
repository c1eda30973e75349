"""Rows of work items. Every change of a claimed one is fenced by its owner and attempt.

A *lane* is what is queued of one project, kind and device: its first item is found by one look into an index, so that
a claim costs the same whether a hundred items wait or a hundred thousand. The subqueries are scalar ones, not EXISTS
or joins, since a planner without fresh statistics would answer those by reading whole tables.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    case,
    func,
    insert,
    literal,
    not_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from auditor.store.database import now
from auditor.store.queries import spending
from auditor.store.tables import Audit, Item, Project

Where = tuple[ColumnElement[bool], ...]

CLAIMED = (
    Item.id,
    Item.attempt,
    Item.owner,
    Item.kind,
    Item.name,
    Item.project_id,
    Item.audit_id,
    Item.version_id,
    Item.dataset_id,
    Item.device,
    Item.deaths,
)
_RELEASED = (Item.id, Item.audit_id, Item.kind, Item.name, Item.state, Item.error)
_OVER = ("cancelling", "done", "failed", "cancelled")  # audits of which nothing is claimed any more


def add(session: Session, **columns: Any) -> None:
    """A queued item."""
    session.flush()  # what it refers to may not have been written yet
    session.execute(insert(Item).values(state="queued", created_at=now(), **columns))


def lanes(
    session: Session, kinds: Sequence[str], devices: Sequence[str], metered: Iterable[str]
) -> Sequence[Row[Any]]:
    """The first claimable item of every lane: project_id, kind, device, priority, id; of its project `running`, the
    items at work, and `served`, when it was last given a claim; and `at`, the present.

    metered: kinds that are held back in projects whose quota of compute-seconds is used up.
    """
    pairs = [select(literal(k).label("kind"), literal(d).label("device")) for k, d in product(kinds, devices)]
    lane = union_all(*pairs).subquery("lane")
    top = _first(Item.project_id == Project.id, Item.kind == lane.c.kind, Item.device == lane.c.device)
    waits = select(Item.id).where(Item.project_id == Project.id, Item.state == "queued").limit(1)
    found = (
        select(Project.id.label("project_id"), Project.quota_seconds, lane, top.scalar_subquery().label("id"))
        .join_from(Project, lane, true())
        .where(waits.scalar_subquery().is_not(None))
        .subquery("found")
    )
    priority = select(Item.priority).where(Item.id == found.c.id)
    last = select(func.max(Item.claimed_at)).where(Item.project_id == found.c.project_id)
    at_work = select(func.count()).where(Item.project_id == found.c.project_id, Item.state == "running")
    held = and_(found.c.kind.in_(list(metered)), _quota_is_used_up(found.c.project_id, found.c.quota_seconds))
    chosen = select(
        found,
        priority.scalar_subquery().label("priority"),
        at_work.scalar_subquery().label("running"),
        func.coalesce(last.scalar_subquery(), 0.0).label("served"),
        now().label("at"),
    )
    return session.execute(chosen.where(found.c.id.is_not(None), not_(held))).all()


def first_of_audit(session: Session, audit_id: str, kinds: Sequence[str], devices: Sequence[str]) -> Any:
    """The first claimable item of an audit, or None: project_id, kind, device, priority."""
    top = _first(Item.audit_id == audit_id, Item.kind.in_(kinds), Item.device.in_(devices))
    columns = (Item.project_id, Item.kind, Item.device, Item.priority)
    return session.execute(top.with_only_columns(*columns)).one_or_none()


def in_lane(lane: Row[Any]) -> Where:
    return Item.project_id == lane.project_id, Item.kind == lane.kind, Item.device == lane.device


def take(session: Session, owner: str, lease: float, where: Where) -> Any:
    """Claim the first claimable item of these that nobody else is claiming: CLAIMED of it, or None."""
    top = _first(*where).with_for_update(skip_locked=True).scalar_subquery()
    taken = {
        "state": "running",
        "owner": owner,
        "attempt": Item.attempt + 1,
        "claimed_at": now(),
        "lease_until": now() + lease,
    }
    return session.execute(_changed(Item.id == top).values(taken).returning(*CLAIMED)).one_or_none()


def change(session: Session, where: Where, **columns: Any) -> bool:
    """Change one item; False when there is no such."""
    changed = _changed(*where).values(**columns).returning(Item.id)
    return session.execute(changed).one_or_none() is not None


def lock(session: Session, where: Where) -> bool:
    """Lock one item until the transaction ends; False when there is no such."""
    return session.execute(select(Item.id).where(*where).with_for_update()).one_or_none() is not None


def claimed(id: str, owner: str, attempt: int) -> Where:
    """What holds of an item as long as it is this claim's."""
    return Item.id == id, Item.state == "running", Item.owner == owner, Item.attempt == attempt


def expired() -> Where:
    return Item.state == "running", Item.lease_until < now()


def held_by(owner: str) -> Where:
    return Item.state == "running", Item.owner == owner


def release(
    session: Session,
    where: Where,
    *,
    counter: InstrumentedAttribute[int],
    limit: int,
    waits: dict[int, float],
    error: str,
) -> Sequence[Row[Any]]:
    """Count something against claimed items: back into the queue, or poisoned at `limit`. Items that another
    transaction is changing are left out.

    waits: seconds before the next claim, by count. Gives id, audit_id, kind, name, state and error of each.
    """
    count = counter + 1
    poisoned = count >= limit
    locked = select(Item.id).where(*where).correlate_except(Item).with_for_update(skip_locked=True)
    released = (
        _changed(Item.id.in_(locked))
        .values(
            {
                counter: count,
                Item.state: case((poisoned, "poisoned"), else_="queued"),
                Item.finished_at: case((poisoned, now()), else_=None),
                Item.not_before: now() + case(waits, value=count, else_=0.0),
                Item.owner: None,
                Item.lease_until: None,
                Item.error: error,
            }
        )
        .returning(*_RELEASED)
    )
    return session.execute(released).all()


def cancel(session: Session, audit_id: str) -> None:
    """End what is queued of an audit."""
    waiting = _changed(Item.audit_id == audit_id, Item.state == "queued")
    session.execute(waiting.values(state="cancelled", finished_at=now()))


def running(session: Session, audit_id: str) -> int:
    """How many items of an audit are at work."""
    chosen = select(func.count()).where(Item.audit_id == audit_id, Item.state == "running")
    return session.scalars(chosen).one()


def is_over(session: Session, audit_id: str) -> bool:
    """Whether an audit has ended or is being cancelled."""
    return session.scalars(select(Audit.state).where(Audit.id == audit_id)).one() in _OVER


def _first(*where: ColumnElement[bool]) -> Select[str]:
    """The claimable item of the highest priority, and of these the oldest."""
    state = select(Audit.state).where(Audit.id == Item.audit_id).correlate(Item).scalar_subquery()
    claimable = (Item.state == "queued", Item.not_before <= now(), func.coalesce(state, "").not_in(_OVER))
    chosen = select(Item.id).where(*where, *claimable).correlate_except(Item)
    return chosen.order_by(Item.priority.desc(), Item.id).limit(1)


def _quota_is_used_up(project_id: ColumnElement[str], quota: ColumnElement[int | None]) -> ColumnElement[bool]:
    return and_(quota.is_not(None), spending.of(project_id) >= quota)


def _changed(*where: ColumnElement[bool]) -> Any:
    return update(Item).where(*where).execution_options(synchronize_session=False)
