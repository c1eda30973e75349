"""Audits and their events."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Artifact, Audit, Dataset, Event, Model, Stage, Surrogate, Version, Worker


@dataclass(frozen=True)
class Listed:
    """An audit with the names of what it is about. stages: how many have ended."""

    audit: Audit
    model: str
    version: int
    dataset: str
    stages: int


def add(session: Session, *, surrogates: Sequence[Surrogate], **columns: Any) -> Audit:
    """A new audit that has yet to be settled, and the surrogates that it names, in their order."""
    audit = Audit(state="settling", created_at=now(), **columns)
    session.add(audit)
    session.flush()
    for position, surrogate in enumerate(surrogates):
        surrogate.audit_id, surrogate.position = audit.id, position
        session.add(surrogate)
    return audit


def surrogates(session: Session, audit_id: str) -> Sequence[Row[Surrogate, Version]]:
    """The surrogates of an audit, in their order."""
    named = select(Surrogate, Version).join(Version, Surrogate.version_id == Version.id)
    return session.execute(named.where(Surrogate.audit_id == audit_id).order_by(Surrogate.position)).all()


def one(session: Session, project_id: str, audit_id: str) -> Listed | None:
    found = session.execute(_listed().where(Audit.project_id == project_id, Audit.id == audit_id)).one_or_none()
    return None if found is None else Listed(*found)


def page(
    session: Session,
    project_id: str,
    *,
    state: str | None,
    model: str | None,
    dataset: str | None,
    before: str | None,
    limit: int,
) -> list[Listed]:
    """Audits of the project, newest first. before: the id after which to go on."""
    wanted = {Audit.state: state, Model.name: model, Dataset.name: dataset}
    chosen = [Audit.project_id == project_id, *(column == value for column, value in wanted.items() if value)]
    if before is not None:
        chosen.append(Audit.id < before)
    return [Listed(*row) for row in session.execute(_listed().where(*chosen).order_by(Audit.id.desc()).limit(limit))]


def lock(session: Session, project_id: str, audit_id: str) -> Audit | None:
    """The audit as it is now, to be changed by nobody else until the transaction ends."""
    return session.scalar(
        select(Audit).where(Audit.project_id == project_id, Audit.id == audit_id).with_for_update(),
        execution_options={"populate_existing": True},
    )


def with_report(session: Session, project_id: str, audit_id: str) -> Audit | None:
    """The audit, if it is done and its report is still there."""
    return session.scalar(_done(project_id).where(Audit.id == audit_id))


def last_with_report(session: Session, project_id: str, version_id: str) -> Audit | None:
    """The newest audit of a model's version that is done and whose report is still there."""
    return session.scalar(_done(project_id).where(Audit.version_id == version_id).order_by(Audit.id.desc()).limit(1))


def signs(session: Session, audit_ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """State and number of events of each of these audits: they differ whenever something has happened."""
    found = session.execute(select(Audit.id, Audit.state, Audit.events).where(Audit.id.in_(audit_ids)))
    return {audit_id: (state, events) for audit_id, state, events in found}


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


def events(session: Session, audit_id: str, *, after: int, limit: int) -> Sequence[Event]:
    """An audit's events with a higher number than `after`."""
    chosen = select(Event).where(Event.audit_id == audit_id, Event.number > after)
    return session.scalars(chosen.order_by(Event.number).limit(limit)).all()


def devices(session: Session, within: float) -> set[str]:
    """The devices of the workers that have reported within so many seconds."""
    return set(session.scalars(select(Worker.device).where(Worker.seen_at > now() - within).distinct()))


def _listed() -> Select[Any]:
    stages = select(func.count()).where(Stage.audit_id == Audit.id).correlate(Audit).scalar_subquery()
    return (
        select(Audit, Model.name, Version.number, Dataset.name, stages)
        .join(Version, Audit.version_id == Version.id)
        .join(Model, Version.model_id == Model.id)
        .join(Dataset, Audit.dataset_id == Dataset.id)
    )


def _done(project_id: str) -> Select[Audit]:
    report = (Artifact.audit_id == Audit.id, Artifact.kind == "report", Artifact.removed_at.is_(None))
    return select(Audit).where(
        Audit.project_id == project_id, Audit.state == "done", select(Artifact.kind).where(*report).exists()
    )
