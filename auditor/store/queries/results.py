"""What an audit found: outcomes, points of its curves, files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, case, func, null, select, tuple_
from sqlalchemy.orm import Session

from auditor import resources
from auditor.store.tables import Artifact, Outcome, Point


@dataclass(frozen=True)
class Count:
    """So many examples of one norm whose smallest known distance lies within the limit at `place`, but not within the
    one before it; None: beyond all limits, or nothing was found. right: when clean; complete: everything ran."""

    norm: str
    place: int | None
    right: bool
    complete: bool
    examples: int


def counts(session: Session, audit_id: str, limits: Mapping[str, Sequence[float]]) -> list[Count]:
    """An audit's outcomes between the limits of each norm. limits: ascending distances."""
    reached = [
        (and_(Outcome.norm == norm, Outcome.distance <= limit), place)
        for norm, grid in limits.items()
        for place, limit in enumerate(grid)
    ]
    rows = (
        select(
            Outcome.norm,
            case(*reached, else_=null()).label("place"),
            (Outcome.status != "wrong").label("right"),
            Outcome.complete,
        )
        .where(Outcome.audit_id == audit_id)
        .subquery()
    )
    grouped = (rows.c.norm, rows.c.place, rows.c.right, rows.c.complete)
    return [Count(*row) for row in session.execute(select(*grouped, func.count()).group_by(*grouped))]


def points(session: Session, audit_id: str) -> Sequence[Point]:
    """The points of all curves, by norm and rising eps."""
    ordered = select(Point).where(Point.audit_id == audit_id).order_by(Point.norm, Point.position)
    return session.scalars(ordered).all()


def outcomes(
    session: Session,
    audit_id: str,
    *,
    norm: str | None,
    status: str | None,
    attack: str | None,
    after: tuple[str, int] | None,
    limit: int,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Outcomes by norm and position: the fields of resources.Outcome, then the position.

    after: norm and position of the last one that was read.
    """
    wanted = {Outcome.norm: norm, Outcome.status: status, Outcome.attack: attack}
    chosen = [Outcome.audit_id == audit_id, *(column == value for column, value in wanted.items() if value)]
    if after is not None:
        chosen.append(tuple_(Outcome.norm, Outcome.position) > after)
    columns = [
        getattr(Outcome, name) for name in resources.Outcome.model_fields
    ]  # whole entities would cost ten times
    ordered = select(*columns, Outcome.position).where(*chosen).order_by(Outcome.norm, Outcome.position)
    return session.execute(ordered.limit(limit)).all()


def broken(
    session: Session,
    audit_id: str,
    *,
    norm: str | None,
    attack: str | None,
    label: int | None,
    after: tuple[float, str, int] | None,
    limit: int,
) -> Sequence[Outcome]:
    """Broken examples by rising distance. after: distance, norm and position of the last one that was read."""
    place = (Outcome.distance, Outcome.norm, Outcome.position)
    chosen = [Outcome.audit_id == audit_id, Outcome.status == "broken"]
    if norm:
        chosen.append(Outcome.norm == norm)
    if attack:
        chosen.append(Outcome.attack == attack)
    if label is not None:
        chosen.append(Outcome.label == label)
    if after is not None:
        chosen.append(tuple_(*place) > after)
    return session.scalars(select(Outcome).where(*chosen).order_by(*place).limit(limit)).all()


def outcome(session: Session, audit_id: str, norm: str, example: int) -> Outcome | None:
    """What is known of one example under one norm."""
    one = Outcome.audit_id == audit_id, Outcome.norm == norm, Outcome.example == example
    return session.scalar(select(Outcome).where(*one))


def artifacts(session: Session, audit_id: str) -> Sequence[Artifact]:
    return session.scalars(select(Artifact).where(Artifact.audit_id == audit_id).order_by(Artifact.kind)).all()


def artifact(session: Session, audit_id: str, kind: str) -> Artifact | None:
    return session.get(Artifact, (audit_id, kind))
