"""What ought to hold between rows, and where it does not."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries.retention import referred
from auditor.store.tables import Artifact, Audit, Blob, Checkpoint, Dataset, Item, Model, Version

OPEN = ("queued", "running")
_WORKING = ("settling", "queued", "running")  # a cancelled one with nothing at work is ended by the next sweep


def blobs(session: Session, after: str, limit: int) -> Sequence[tuple[str, int]]:
    """Digest and size of the next blobs, by digest, to which something refers. Others may be on their way."""
    chosen = select(Blob.sha256, Blob.size).where(Blob.sha256 > after, referred())
    return [(sha256, size) for sha256, size in session.execute(chosen.order_by(Blob.sha256).limit(limit))]


def checkpoints(session: Session, after: tuple[str, str], limit: int) -> Sequence[Checkpoint]:
    """The next checkpoints by audit and name."""
    audit_id, name = after
    later = or_(Checkpoint.audit_id > audit_id, (Checkpoint.audit_id == audit_id) & (Checkpoint.name > name))
    chosen = select(Checkpoint).where(later).order_by(Checkpoint.audit_id, Checkpoint.name)
    return session.scalars(chosen.limit(limit)).all()


def lock_checkpoint(session: Session, row: Checkpoint) -> Checkpoint | None:
    """The checkpoint's row as it is now; None when it was replaced or deleted."""
    found = session.get(Checkpoint, (row.audit_id, row.name), with_for_update=True)
    return found if found is not None and found.key == row.key else None


def miscounted(session: Session) -> Sequence[tuple[str, int, int]]:
    """Running audits whose `pending` is not the number of their attacks that are still to end: id, pending, number."""
    number = select(func.count()).where(*_attacks(Audit.id)).correlate(Audit).scalar_subquery()
    chosen = select(Audit.id, Audit.pending, number).where(Audit.state == "running", Audit.pending != number)
    return [(audit_id, pending, left) for audit_id, pending, left in session.execute(chosen)]


def lock_running(session: Session, audit_id: str) -> Audit | None:
    chosen = select(Audit).where(Audit.id == audit_id, Audit.state == "running")
    return session.scalar(chosen.with_for_update())


def attacks_left(session: Session, audit_id: str) -> int:
    return session.scalar(select(func.count()).where(*_attacks(audit_id))) or 0


def has_item(session: Session, audit_id: str, kind: str) -> bool:
    return session.scalar(select(Item.id).where(Item.audit_id == audit_id, Item.kind == kind).limit(1)) is not None


def idle(session: Session) -> Sequence[tuple[str, str]]:
    """Audits that are not finished and of which nothing is queued or running: id and state."""
    at_work = exists().where(Item.audit_id == Audit.id, Item.state.in_(OPEN))
    chosen = select(Audit.id, Audit.state).where(Audit.state.in_(_WORKING), ~at_work)
    return [(audit_id, state) for audit_id, state in session.execute(chosen)]


def unleased(session: Session) -> Sequence[str]:
    """Work items that are running for nobody or without end."""
    chosen = Item.state == "running", or_(Item.owner.is_(None), Item.lease_until.is_(None))
    return session.scalars(select(Item.id).where(*chosen)).all()


def end_lease(session: Session, item_id: str) -> None:
    """Let the next sweep put a work item back into the queue."""
    broken = Item.id == item_id, Item.state == "running", or_(Item.owner.is_(None), Item.lease_until.is_(None))
    session.execute(update(Item).where(*broken).values(lease_until=now() - 1))


def without_report(session: Session) -> Sequence[str]:
    """Audits that are done and never had a report. One whose retention ended has its row."""
    has = exists().where(Artifact.audit_id == Audit.id, Artifact.kind == "report")
    return session.scalars(select(Audit.id).where(Audit.state == "done", ~has)).all()


def unchecked_versions(session: Session) -> Sequence[tuple[str, str]]:
    """Versions that are being checked by no work item: id and the project's id."""
    checked = exists().where(Item.version_id == Version.id, Item.state.in_(OPEN))
    chosen = select(Version.id, Model.project_id).join(Model).where(Version.state == "checking", ~checked)
    return [(version_id, project_id) for version_id, project_id in session.execute(chosen)]


def unchecked_datasets(session: Session) -> Sequence[tuple[str, str]]:
    """Datasets that are being checked by no work item: id and the project's id."""
    checked = exists().where(Item.dataset_id == Dataset.id, Item.state.in_(OPEN))
    chosen = select(Dataset.id, Dataset.project_id).where(Dataset.state == "checking", ~checked)
    return [(dataset_id, project_id) for dataset_id, project_id in session.execute(chosen)]


def _attacks(audit_id: object) -> tuple[ColumnElement[bool], ...]:
    return Item.audit_id == audit_id, Item.kind == "attack", Item.state.in_(OPEN)
