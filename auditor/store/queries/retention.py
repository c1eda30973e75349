"""What may be deleted, and deleting it. Rows that belong to a deleted row go with it by the tables' own cascades."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from auditor.resources import FINISHED
from auditor.store.database import now
from auditor.store.tables import (
    Artifact,
    Audit,
    Blob,
    Checkpoint,
    Dataset,
    Delivery,
    Idempotency,
    Item,
    Link,
    Model,
    Piece,
    Project,
    Spending,
    Surrogate,
    Table,
    Upload,
    Version,
    Worker,
)

_REFERRING: tuple[type[Version | Dataset | Artifact], ...] = (Version, Dataset, Artifact)
_KEYED: tuple[type[Checkpoint | Piece], ...] = (Checkpoint, Piece)


@dataclass(frozen=True)
class Reference:
    """That something refers, or referred, to a blob. since: when that began."""

    sha256: str
    since: float


def time(session: Session) -> float:
    """By the database's clock."""
    return session.scalars(select(now())).one()


def lock_model(session: Session, project_id: str, model_id: str) -> Model | None:
    return session.scalar(select(Model).where(Model.project_id == project_id, Model.id == model_id).with_for_update())


def lock_versions(session: Session, model_id: str) -> Sequence[Version]:
    return session.scalars(select(Version).where(Version.model_id == model_id).with_for_update()).all()


def lock_version(session: Session, project_id: str, version_id: str) -> Version | None:
    chosen = select(Version).join(Model).where(Model.project_id == project_id, Version.id == version_id)
    return session.scalar(chosen.with_for_update(of=Version))


def lock_dataset(session: Session, project_id: str, dataset_id: str) -> Dataset | None:
    chosen = select(Dataset).where(Dataset.project_id == project_id, Dataset.id == dataset_id)
    return session.scalar(chosen.with_for_update())


def lock_audit(session: Session, project_id: str, audit_id: str) -> Audit | None:
    chosen = select(Audit).where(Audit.project_id == project_id, Audit.id == audit_id)
    return session.scalar(chosen.with_for_update())


def lock_audits(session: Session, about: type[Version | Dataset], ids: Collection[str]) -> Sequence[Audit]:
    """The audits of these versions and those in which they stand in for another one, or the audits of these datasets."""
    chosen: ColumnElement[bool] = Audit.dataset_id.in_(ids)
    if about is Version:
        named = select(Surrogate.audit_id).where(Surrogate.version_id.in_(ids))
        chosen = or_(Audit.version_id.in_(ids), Audit.id.in_(named))
    return session.scalars(select(Audit).where(chosen).with_for_update()).all()


def at_work(session: Session, column: Any, ids: Collection[str]) -> bool:
    """Whether a worker is at a work item whose `column` (Item.audit_id, …) is one of the ids."""
    running = select(Item.id).where(column.in_(ids), Item.state == "running")
    return session.scalar(running.limit(1)) is not None


def files_of(session: Session, audit_ids: Collection[str]) -> list[Reference]:
    """The blobs that these audits' artifacts are."""
    chosen = select(Artifact.sha256, Artifact.created_at).where(
        Artifact.audit_id.in_(audit_ids), Artifact.sha256.is_not(None)
    )
    return [Reference(sha256, since) for sha256, since in session.execute(chosen) if sha256 is not None]


def remove(session: Session, table: type[Table], ids: Collection[str]) -> None:
    """Delete rows by their id, and everything that belongs to them."""
    session.execute(delete(table).where(table.__table__.c.id.in_(ids)))


def expire_uploads(session: Session, before: float, limit: int) -> Sequence[str]:
    """Delete uploads that expired before; their ids."""
    chosen = select(Upload.id).where(Upload.expires_at < before).limit(limit)
    return session.scalars(delete(Upload).where(Upload.id.in_(chosen)).returning(Upload.id)).all()


def retentions(session: Session) -> Sequence[tuple[str, dict[str, Any]]]:
    """Every project's id and its days by kind of artifact."""
    return [(project_id, days) for project_id, days in session.execute(select(Project.id, Project.retention))]


def expire_artifacts(session: Session, project_id: str, kind: str, before: float, at: float) -> int:
    """Let go of the project's artifacts of a kind that were made before; their rows stay, to say so."""
    own = select(Audit.id).where(Audit.project_id == project_id)
    chosen = (
        Artifact.audit_id.in_(own),
        Artifact.kind == kind,
        Artifact.created_at < before,
        Artifact.removed_at.is_(None),
    )
    return _count(session.execute(update(Artifact).where(*chosen).values(removed_at=at, sha256=None)))


def expire_checkpoints(session: Session, project_id: str, before: float, limit: int) -> Sequence[str]:
    """Delete checkpoints of the project's audits that were finished before; the keys of their bytes."""
    over = select(Audit.id).where(
        Audit.project_id == project_id,
        Audit.state.in_(FINISHED),
        Audit.finished_at < before,
        exists().where(Checkpoint.audit_id == Audit.id),
    )
    chosen = Checkpoint.audit_id.in_(over.limit(limit))
    return session.scalars(delete(Checkpoint).where(chosen).returning(Checkpoint.key)).all()


def referred(sha256: str | None = None) -> ColumnElement[bool]:
    """Whether anything refers to this blob; without a digest: to the blob of the enclosing query."""
    wanted = Blob.sha256 if sha256 is None else sha256
    return or_(*(exists().where(table.sha256 == wanted) for table in _REFERRING))


def unreferred_blobs(session: Session, before: float, limit: int, after: str) -> Sequence[str]:
    """Digests above `after`, in order, of blobs to which nothing refers and that were last used before."""
    chosen = select(Blob.sha256).where(Blob.used_at < before, Blob.sha256 > after, ~referred())
    return session.scalars(chosen.order_by(Blob.sha256).limit(limit)).all()


def lock_blob(session: Session, sha256: str) -> Blob | None:
    """A blob's row; whoever is about to refer to it waits until the transaction ends."""
    return session.scalar(select(Blob).where(Blob.sha256 == sha256).with_for_update())


def is_referred(session: Session, sha256: str) -> bool:
    return bool(session.scalar(select(referred(sha256))))


def remove_blob(session: Session, sha256: str) -> None:
    session.execute(delete(Blob).where(Blob.sha256 == sha256))


def known_blobs(session: Session, digests: Collection[str]) -> set[str]:
    """Those of the digests that have a row."""
    return set(session.scalars(select(Blob.sha256).where(Blob.sha256.in_(digests))))


def known_keys(session: Session, keys: Collection[str]) -> set[str]:
    """Those of the keys that a checkpoint or an upload's piece lies under."""
    return {key for table in _KEYED for key in session.scalars(select(table.key).where(table.key.in_(keys)))}


def drop_idempotency(session: Session, before: float) -> int:
    return _count(session.execute(delete(Idempotency).where(Idempotency.created_at < before)))


def drop_links(session: Session, before: float) -> int:
    return _count(session.execute(delete(Link).where(Link.expires_at < before)))


def drop_deliveries(session: Session, before: float) -> int:
    """Delete messages that are delivered or given up and were written before."""
    chosen = Delivery.state.in_(("delivered", "failed")), Delivery.created_at < before
    return _count(session.execute(delete(Delivery).where(*chosen)))


def drop_workers(session: Session, before: float) -> int:
    """Forget workers that were last seen before."""
    return _count(session.execute(delete(Worker).where(Worker.seen_at < before)))


def drop_spending(session: Session, before: float) -> int:
    """Forget what was spent on days that ended before, or just then."""
    return _count(session.execute(delete(Spending).where((Spending.day + 1) * 86400.0 <= before)))


def _count(result: Any) -> int:
    return int(result.rowcount)
