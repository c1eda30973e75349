"""What an operator wants to know of the whole service at a glance; nothing here tells projects or users apart."""

from collections.abc import Sequence

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Audit, Delivery, Item, Stage, Worker


def try_to_write(session: Session) -> None:
    """Ask for what a database that is read-only refuses, and change nothing."""
    session.execute(update(Worker).where(Worker.owner == "").values(pid=Worker.pid))


def workers(session: Session, within: float) -> Sequence[Worker]:
    """Those that have reported within so many seconds."""
    return session.scalars(select(Worker).where(Worker.seen_at > now() - within).order_by(Worker.owner)).all()


def oldest_claimable(session: Session) -> float:
    """For how many seconds the work item that waits longest could have been claimed; 0 when none waits."""
    since = case((Item.created_at > Item.not_before, Item.created_at), else_=Item.not_before)
    waiting = Item.state == "queued", Item.not_before <= now()
    return max(0.0, session.scalar(select(func.max(now() - since)).where(*waiting)) or 0.0)


def items(session: Session) -> Sequence[tuple[str, str, int]]:
    """How many work items there are: state, kind, number."""
    rows = session.execute(select(Item.state, Item.kind, func.count()).group_by(Item.state, Item.kind))
    return [(state, kind, number) for state, kind, number in rows]


def troubles(session: Session) -> tuple[int, int]:
    """Leases lost and children dead, of all work items that there are."""
    losses, deaths = session.execute(select(func.sum(Item.losses), func.sum(Item.deaths))).one()
    return int(losses or 0), int(deaths or 0)


def stages(session: Session) -> Sequence[tuple[str, int, float]]:
    """What attacks have done: attack, examples tried, seconds."""
    rows = session.execute(
        select(Stage.attack, func.sum(Stage.tried), func.sum(Stage.seconds)).group_by(Stage.attack)
    )
    return [(attack, int(tried), float(seconds)) for attack, tried, seconds in rows]


def tried_within(session: Session, seconds: float) -> Sequence[tuple[str, int]]:
    """Examples tried, by attack, on work items that ended within so many seconds."""
    ended = Item.kind == "attack", Item.finished_at > now() - seconds
    rows = session.execute(
        select(Stage.attack, func.sum(Stage.tried))
        .join(Item, (Item.audit_id == Stage.audit_id) & (Item.name == Stage.item))
        .where(*ended)
        .group_by(Stage.attack)
    )
    return [(attack, int(tried)) for attack, tried in rows]


def audits(session: Session) -> Sequence[tuple[str, int]]:
    """How many audits there are: state, number."""
    rows = session.execute(select(Audit.state, func.count()).group_by(Audit.state))
    return [(state, number) for state, number in rows]


def deliveries(session: Session) -> Sequence[tuple[str, int]]:
    """How many webhook messages there are: state, number."""
    rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
    return [(state, number) for state, number in rows]
