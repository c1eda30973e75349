"""Read-only links to reports."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Artifact, Link

_ALIVE = Link.expires_at > now()


def add(session: Session, audit_id: str, sha256: str, lifetime: float) -> Link:
    """lifetime: seconds."""
    link = Link(audit_id=audit_id, sha256=sha256, created_at=now(), expires_at=now() + lifetime)
    session.add(link)
    session.flush()
    session.refresh(link)
    return link


def alive(session: Session, audit_id: str) -> list[Link]:
    """The audit's links that have not expired, oldest first."""
    return list(session.scalars(select(Link).where(Link.audit_id == audit_id, _ALIVE).order_by(Link.id)))


def remove(session: Session, audit_id: str, link_id: str) -> bool:
    """Whether there was such a link."""
    gone = delete(Link).where(Link.audit_id == audit_id, Link.id == link_id).returning(Link.id)
    return session.scalar(gone) is not None


def shared_report(session: Session, sha256: str) -> Artifact | None:
    """The report that a token's digest opens now."""
    query = select(Artifact).join(Link, Link.audit_id == Artifact.audit_id)
    return session.scalar(query.where(Link.sha256 == sha256, _ALIVE, Artifact.kind == "report"))
