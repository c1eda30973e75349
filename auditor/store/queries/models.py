"""Models, their versions and aliases."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries.inserting import insert
from auditor.store.tables import Alias, Model, Version


@dataclass(frozen=True)
class Pointer:
    """An alias and the version that it points at."""

    model_id: str
    alias: str
    version_id: str
    number: int


def by_name(session: Session, project_id: str, name: str) -> Model | None:
    return session.scalar(select(Model).where(Model.project_id == project_id, Model.name == name))


def by_id(session: Session, project_id: str, model_id: str) -> Model | None:
    return session.scalar(select(Model).where(Model.project_id == project_id, Model.id == model_id))


def of_project(
    session: Session, project_id: str, name: str | None, before: str | None, limit: int
) -> Sequence[Model]:
    """Newest first. name: a part of the names that are wanted."""
    query = select(Model).where(Model.project_id == project_id)
    if name is not None:
        query = query.where(Model.name.icontains(name, autoescape=True))
    if before is not None:
        query = query.where(Model.id < before)
    return session.scalars(query.order_by(Model.id.desc()).limit(limit)).all()


def next_number(session: Session, project_id: str, name: str) -> tuple[str, int]:
    """The id of the model of this name, made if need be, and the number of its next version. Others who ask for the
    same wait until the transaction ends."""
    make = insert(session, Model).values(project_id=project_id, name=name, created_at=now())
    session.execute(make.on_conflict_do_nothing())
    named = Model.project_id == project_id, Model.name == name
    counted = update(Model).where(*named).values(numbers=Model.numbers + 1).returning(Model.id, Model.numbers)
    model_id, number = session.execute(counted).one()
    return model_id, number


def add_version(session: Session, **columns: Any) -> str:
    """Its id. The version is still to be checked."""
    made = insert(session, Version).values(state="checking", created_at=now(), **columns).returning(Version.id)
    return str(session.execute(made).scalar_one())


def version_by_id(session: Session, project_id: str, version_id: str) -> Version | None:
    own = Model.project_id == project_id, Version.id == version_id
    return session.scalar(select(Version).join(Model, Model.id == Version.model_id).where(*own))


def version_by_number(session: Session, model_id: str, number: int) -> Version | None:
    return session.scalar(select(Version).where(Version.model_id == model_id, Version.number == number))


def version_by_alias(session: Session, model_id: str, alias: str) -> Version | None:
    pointed = select(Version).join(Alias, Alias.version_id == Version.id)
    return session.scalar(pointed.where(Alias.model_id == model_id, Alias.name == alias))


def newest_version(session: Session, model_id: str) -> Version | None:
    return session.scalar(
        select(Version).where(Version.model_id == model_id).order_by(Version.number.desc()).limit(1)
    )


def versions(session: Session, model_id: str, before: str | None, limit: int) -> Sequence[Version]:
    """Newest first."""
    query = select(Version).where(Version.model_id == model_id)
    if before is not None:
        query = query.where(Version.id < before)
    return session.scalars(query.order_by(Version.id.desc()).limit(limit)).all()


def newest_of(session: Session, model_ids: Collection[str]) -> dict[str, Version]:
    """The newest version of each model that has one."""
    last = (
        select(Version.model_id, func.max(Version.number).label("number"))
        .where(Version.model_id.in_(model_ids))
        .group_by(Version.model_id)
        .subquery()
    )
    query = select(Version).join(last, (Version.model_id == last.c.model_id) & (Version.number == last.c.number))
    return {version.model_id: version for version in session.scalars(query)}


def counts(session: Session, model_ids: Collection[str]) -> dict[str, int]:
    """How many versions each model has."""
    query = select(Version.model_id, func.count()).where(Version.model_id.in_(model_ids)).group_by(Version.model_id)
    return dict(session.execute(query).all())


def aliases(session: Session, model_ids: Collection[str]) -> list[Pointer]:
    """By name."""
    query = select(Alias.model_id, Alias.name, Alias.version_id, Version.number)
    joined = query.join(Version, Version.id == Alias.version_id).where(Alias.model_id.in_(model_ids))
    return [Pointer(*row) for row in session.execute(joined.order_by(Alias.name))]


def set_alias(session: Session, model_id: str, name: str, version_id: str) -> None:
    """Point a name at a version, wherever it pointed before."""
    made = insert(session, Alias).values(model_id=model_id, name=name, version_id=version_id)
    session.execute(
        made.on_conflict_do_update(index_elements=[Alias.model_id, Alias.name], set_={"version_id": version_id})
    )


def remove_alias(session: Session, model_id: str, name: str) -> bool:
    """Whether there was one."""
    own = Alias.model_id == model_id, Alias.name == name
    return session.execute(delete(Alias).where(*own).returning(Alias.name)).first() is not None
