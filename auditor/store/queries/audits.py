"""Audits and their events."""

from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Audit, Event


def add_event(session: Session, audit_id: str, type: str, data: dict[str, Any]) -> str:
    """Append an event under the audit's next number; the id of the audit's project."""
    number, project_id = session.execute(
        update(Audit)
        .where(Audit.id == audit_id)
        .values(events=Audit.events + 1)
        .returning(Audit.events, Audit.project_id)
        .execution_options(synchronize_session=False)
    ).one()
    session.execute(insert(Event).values(audit_id=audit_id, number=number, type=type, data=data, at=now()))
    return str(project_id)
