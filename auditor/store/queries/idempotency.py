"""Answers to requests that carried an Idempotency-Key."""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries.inserting import insert
from auditor.store.tables import Idempotency


def claim(session: Session, project_id: str, key: str, request_sha256: str) -> bool:
    """Insert the row of a first request; False when there is one. Waits for a transaction that is inserting it."""
    row = insert(session, Idempotency).values(
        project_id=project_id, key=key, request_sha256=request_sha256, created_at=now()
    )
    return bool(session.execute(row.on_conflict_do_nothing().returning(Idempotency.key)).first())


def find(session: Session, project_id: str, key: str) -> Idempotency | None:
    return session.scalar(select(Idempotency).where(Idempotency.project_id == project_id, Idempotency.key == key))


def drop(session: Session, project_id: str, key: str, *, older_than: float, in_flight: float) -> None:
    """Delete the row if its answer is `older_than` seconds old, or it has been without one for `in_flight` seconds."""
    age = now() - Idempotency.created_at
    own = delete(Idempotency).where(Idempotency.project_id == project_id, Idempotency.key == key)
    session.execute(own.where(age > older_than))
    session.execute(own.where(age > in_flight, Idempotency.status.is_(None)))


def answer(session: Session, project_id: str, key: str, audit_id: str, status: int) -> None:
    own = Idempotency.project_id == project_id, Idempotency.key == key
    session.execute(update(Idempotency).where(*own).values(audit_id=audit_id, status=status))
