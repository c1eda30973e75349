"""What a work item reads of its audit, model and dataset, and what it writes there."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries import spending
from auditor.store.queries.many import insert_rows, update_rows
from auditor.store.tables import (
    Artifact,
    Audit,
    Checkpoint,
    Dataset,
    Item,
    Outcome,
    Point,
    Stage,
    Table,
    Version,
    Worker,
)

_RESULTS: tuple[type[Table], ...] = (Point, Outcome, Stage, Artifact)
_KEYS = ("audit_id", "norm", "position")


def inputs(session: Session, audit_id: str) -> Row[Audit, Version, Dataset, float]:
    """An audit, what it is about, and the time."""
    asked = select(Audit, Version, Dataset, now()).join(Version, Audit.version_id == Version.id)
    return session.execute(asked.join(Dataset, Audit.dataset_id == Dataset.id).where(Audit.id == audit_id)).one()


def lock(session: Session, audit_id: str) -> Audit:
    """An audit as it is now, to be changed by nobody else until the transaction ends."""
    chosen = select(Audit).where(Audit.id == audit_id).with_for_update()
    return session.scalars(chosen, execution_options={"populate_existing": True}).one()


def spend(session: Session, item_id: str, audit_id: str | None, seconds: float) -> None:
    """Add to what a work item that does not end has cost."""
    session.execute(update(Item).where(Item.id == item_id).values(seconds=Item.seconds + seconds))
    if audit_id is not None:
        more = update(Audit).where(Audit.id == audit_id).values(seconds=Audit.seconds + seconds)
        spending.add(session, session.scalars(more.returning(Audit.project_id)).one(), seconds)


def cut(session: Session, audit_id: str) -> int:
    """Take the audit's waiting work out of the queue, because its budget is used up; gives how many items it was."""
    waiting = (Item.audit_id == audit_id, Item.kind == "attack", Item.state == "queued")
    return _count(session.execute(update(Item).where(*waiting).values(state="cut", finished_at=now())))


def running(session: Session, audit_id: str) -> int:
    chosen = select(func.count()).where(Item.audit_id == audit_id, Item.state == "running")
    return session.scalar(chosen) or 0


def cancelling(session: Session) -> Sequence[str]:
    """Audits that are being cancelled and have no work left that runs, in the order in which all lock them."""
    at_work = select(Item.id).where(Item.audit_id == Audit.id, Item.state == "running").exists()
    return session.scalars(select(Audit.id).where(Audit.state == "cancelling", ~at_work).order_by(Audit.id)).all()


def report(session: Session, audit_id: str, *, lock: bool = False) -> str | None:
    """The digest of an audit's report, if it is still there. lock: it stays there until the transaction ends."""
    chosen = (Artifact.audit_id == audit_id, Artifact.kind == "report", Artifact.removed_at.is_(None))
    query = select(Artifact.sha256).where(*chosen)
    return session.scalar(query.with_for_update(read=True) if lock else query)


def equals(session: Session, audit: Audit) -> Sequence[Audit]:
    """Finished audits of the same project with the same model, data and subject, newest first: those whose results
    are this one's, as far as columns tell."""
    of, about = select(Version.sha256), select(Dataset.sha256)
    chosen = (
        select(Audit)
        .join(Version, Audit.version_id == Version.id)
        .join(Dataset, Audit.dataset_id == Dataset.id)
        .where(
            Audit.project_id == audit.project_id,
            Audit.subject_sha256 == audit.subject_sha256,
            Audit.state == "done",
            Audit.stopped.is_(None),
            Audit.baseline_id.is_not_distinct_from(audit.baseline_id),
            Version.sha256 == of.where(Version.id == audit.version_id).correlate(None).scalar_subquery(),
            Dataset.sha256 == about.where(Dataset.id == audit.dataset_id).correlate(None).scalar_subquery(),
        )
    )
    return session.scalars(chosen.order_by(Audit.id.desc()).limit(20)).all()


def copy_results(session: Session, source: str, target: str) -> None:
    """Give one audit the points, outcomes, stages and files of another."""
    for table in _RESULTS:
        columns = {column.name: column for column in table.__table__.columns}
        values = [literal(target) if name == "audit_id" else column for name, column in columns.items()]
        rows = select(*values).where(columns["audit_id"] == source)
        session.execute(insert(table).from_select(list(columns), rows))


def checkpoints(session: Session, audit_id: str) -> Sequence[Checkpoint]:
    return session.scalars(select(Checkpoint).where(Checkpoint.audit_id == audit_id)).all()


def add_outcomes(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    insert_rows(session, Outcome, rows)


def set_outcomes(session: Session, audit_id: str, norm: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace what is known of examples. rows: `position` and the columns that are to change, the same in each."""
    update_rows(session, Outcome, _KEYS, [{"audit_id": audit_id, "norm": norm, **row} for row in rows])


def stages_done(session: Session, audit_id: str) -> int:
    return session.scalar(select(func.count()).where(Stage.audit_id == audit_id)) or 0


def replace_points(session: Session, audit_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    session.execute(delete(Point).where(Point.audit_id == audit_id))
    if rows:
        session.execute(insert(Point), [{**row, "audit_id": audit_id} for row in rows])


def see_worker(session: Session, owner: str, gpu: tuple[int, int] | None) -> bool:
    """Note that a worker lives; False when it is not known."""
    used, total = gpu or (None, None)
    seen = update(Worker).where(Worker.owner == owner).values(seen_at=now(), gpu_used=used, gpu_total=total)
    return _count(session.execute(seen)) == 1


def forget_worker(session: Session, owner: str) -> None:
    session.execute(delete(Worker).where(Worker.owner == owner))


def owners(session: Session, prefix: str) -> Sequence[str]:
    """Who holds work items, out of the workers whose names begin with `prefix`."""
    held = select(Item.owner).where(Item.state == "running", Item.owner.startswith(prefix, autoescape=True))
    return [owner for owner in session.scalars(held.distinct()) if owner is not None]


def waits(session: Session, kinds: Sequence[str], devices: Sequence[str]) -> bool:
    """Whether there is work that a worker of these kinds and devices could take now."""
    chosen = (Item.state == "queued", Item.kind.in_(kinds), Item.device.in_(devices), Item.not_before <= now())
    return session.scalar(select(Item.id).where(*chosen).limit(1)) is not None


def _count(result: Any) -> int:
    return int(result.rowcount)
