"""Datasets."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Dataset


def add(session: Session, **columns: Any) -> str:
    """Its id. The dataset is still to be checked."""
    made = insert(Dataset).values(state="checking", created_at=now(), **columns).returning(Dataset.id)
    return str(session.execute(made).scalar_one())


def by_id(session: Session, project_id: str, dataset_id: str) -> Dataset | None:
    return session.scalar(select(Dataset).where(Dataset.project_id == project_id, Dataset.id == dataset_id))


def newest(session: Session, project_id: str, name: str) -> Dataset | None:
    """The newest dataset of this name."""
    named = select(Dataset).where(Dataset.project_id == project_id, Dataset.name == name)
    return session.scalar(named.order_by(Dataset.id.desc()).limit(1))


def of_project(
    session: Session, project_id: str, name: str | None, before: str | None, limit: int
) -> Sequence[Dataset]:
    """Newest first. name: a part of the names that are wanted."""
    query = select(Dataset).where(Dataset.project_id == project_id)
    if name is not None:
        query = query.where(Dataset.name.icontains(name, autoescape=True))
    if before is not None:
        query = query.where(Dataset.id < before)
    return session.scalars(query.order_by(Dataset.id.desc()).limit(limit)).all()
