"""API keys."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Key

VALID = Key.revoked_at.is_(None), or_(Key.expires_at.is_(None), Key.expires_at > now())


def by_prefix(session: Session, prefix: str) -> Key | None:
    """The key with this prefix, unless it is revoked or has expired."""
    return session.scalar(select(Key).where(Key.prefix == prefix, *VALID))


def add(session: Session, key: Key) -> None:
    """Insert a key and read back what the database filled in."""
    session.add(key)
    session.flush()
    session.refresh(key)


def of_project(session: Session, project_id: str, before: str | None, limit: int) -> Sequence[Key]:
    """The project's keys, newest first."""
    query = select(Key).where(Key.project_id == project_id)
    if before is not None:
        query = query.where(Key.id < before)
    return session.scalars(query.order_by(Key.id.desc()).limit(limit)).all()


def touch(session: Session, key_id: str, seconds: float) -> None:
    """Note that a key is in use, unless that was noted less than `seconds` ago."""
    stale = or_(Key.last_used_at.is_(None), Key.last_used_at < now() - seconds)
    session.execute(update(Key).where(Key.id == key_id, stale).values(last_used_at=now()))


def revoke(session: Session, project_id: str, key_id: str) -> Key | None:
    """Revoke a key; the first time holds."""
    own = Key.project_id == project_id, Key.id == key_id
    session.execute(update(Key).where(*own, Key.revoked_at.is_(None)).values(revoked_at=now()))
    return session.scalar(select(Key).where(*own))
