"""Who is signed in to the web page."""

from sqlalchemy import delete, orm, select

from auditor.store.database import now
from auditor.store.queries.keys import VALID
from auditor.store.tables import Key, Session


def add(session: orm.Session, sha256: str, key_id: str, seconds: float) -> None:
    session.add(Session(sha256=sha256, key_id=key_id, expires_at=now() + seconds))


def key_of(session: orm.Session, sha256: str) -> Key | None:
    """The key that was signed in with, unless the session has ended or the key opens nothing any more."""
    alive = Session.sha256 == sha256, Session.expires_at > now()
    return session.scalar(select(Key).join(Session, Session.key_id == Key.id).where(*alive, *VALID))


def remove(session: orm.Session, sha256: str) -> None:
    session.execute(delete(Session).where(Session.sha256 == sha256))


def remove_expired(session: orm.Session) -> None:
    session.execute(delete(Session).where(Session.expires_at <= now()))
