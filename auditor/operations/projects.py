"""Projects: what they use, and what they may use."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from auditor.operations.errors import QuotaExceeded, Unacceptable
from auditor.operations.service import Service
from auditor.store.database import now
from auditor.store.queries import projects
from auditor.store.tables import Project

RETAINED = ("report", "adversarial", "outcomes", "work")


@dataclass(frozen=True)
class Usage:
    """What a project holds and has spent. seconds: of compute in the last 30 days."""

    project: Project
    bytes: int
    audits: int
    seconds: float


def ensure(session: Session, name: str) -> Project:
    """The project of this name, made without quotas if there is none."""
    found = projects.by_name(session, name)
    if found is None:
        found = Project(name=name, created_at=now(), retention={})
        projects.add(session, found)
    return found


def usage(session: Session, project_id: str) -> Usage:
    return Usage(
        projects.by_id(session, project_id),
        projects.used_bytes(session, project_id),
        projects.running_audits(session, project_id),
        projects.used_seconds(session, project_id),
    )


def change(session: Session, project_id: str, quotas: dict[str, Any]) -> None:
    """Set what is named of bytes, audits, seconds (None: no limit) and retention (days by kind). Raises Unacceptable."""
    project = projects.by_id(session, project_id, lock=True)
    retention: dict[str, int] = quotas.get("retention", project.retention)
    for kind, days in retention.items():
        if kind not in RETAINED or days < 0:
            raise Unacceptable(
                f"retention of {kind} for {days} days; days from 0 on are kept for {', '.join(RETAINED)}"
            )
    for name in ("bytes", "audits", "seconds"):
        if name in quotas:
            setattr(project, f"quota_{name}", quotas[name])
    project.retention = retention


def check_bytes(session: Session, project_id: str, more: int) -> None:
    """Whether the project may store `more` bytes than it does. Raises QuotaExceeded."""
    _room(session, projects.by_id(session, project_id, lock=True), more)


def room(service: Service, project_id: str, more: int) -> int | None:
    """How many bytes the project may still store, None for any number, ahead of a transfer of `more` or more: whoever
    stores them checks again. Raises QuotaExceeded."""
    with service.database.reading() as session:
        return _room(session, projects.by_id(session, project_id), more)


def check_audits(session: Session, project_id: str) -> None:
    """Whether the project may start another audit. Raises QuotaExceeded."""
    quota = projects.by_id(session, project_id, lock=True).quota_audits
    if quota is not None and projects.running_audits(session, project_id) >= quota:
        raise QuotaExceeded(f"the project's {quota} audits at once are running; wait for one, or cancel it")


def _room(session: Session, project: Project, more: int) -> int | None:
    quota = project.quota_bytes
    if quota is None:
        return None
    used = projects.used_bytes(session, project.id)
    if used + more > quota:
        raise QuotaExceeded(
            f"{more} more bytes do not fit: {used} of the project's {quota} are used; delete what is not needed"
        )
    return quota - used
