"""Projects and what they use."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from auditor.resources import FINISHED
from auditor.store.database import now
from auditor.store.queries import spending
from auditor.store.tables import Artifact, Audit, Dataset, Model, Project, Upload, Version


def by_name(session: Session, name: str) -> Project | None:
    return session.scalar(select(Project).where(Project.name == name))


def by_id(session: Session, project_id: str, *, lock: bool = False) -> Project:
    """lock: until the transaction ends, so that what is counted against a quota stays true.

    Rows that refer to the project may be added meanwhile: on PostgreSQL two transactions that have done so would else
    wait for each other's end.
    """
    query = select(Project).where(Project.id == project_id)
    return session.execute(query.with_for_update(key_share=True) if lock else query).scalar_one()


def add(session: Session, project: Project) -> None:
    session.add(project)
    session.flush()
    session.refresh(project)


def used_bytes(session: Session, project_id: str) -> int:
    """Stored: models, datasets and artifacts, and what uploads have announced."""
    # Artifacts one audit after another: a planner without fresh statistics would compare all with all.
    of_audit = select(func.sum(Artifact.size)).where(Artifact.audit_id == Audit.id, Artifact.removed_at.is_(None))
    parts: list[Select[Any]] = [
        select(func.sum(Version.size)).join(Model).where(Model.project_id == project_id),
        select(func.sum(Dataset.size)).where(Dataset.project_id == project_id),
        select(func.sum(of_audit.scalar_subquery())).where(Audit.project_id == project_id),
        select(func.sum(Upload.size)).where(Upload.project_id == project_id, Upload.expires_at > now()),
    ]
    return sum(int(session.scalar(part) or 0) for part in parts)


def running_audits(session: Session, project_id: str) -> int:
    """Audits that are not finished."""
    unfinished = Audit.project_id == project_id, Audit.state.not_in(FINISHED)
    return session.scalar(select(func.count()).select_from(Audit).where(*unfinished)) or 0


def used_seconds(session: Session, project_id: str) -> float:
    """Of compute, in the last 30 days, as the queue counts them."""
    return session.scalars(select(spending.of(project_id))).one()
