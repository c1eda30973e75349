"""Datasets: uploaded files of examples that a worker checks."""

from pathlib import PurePath
from typing import cast

from sqlalchemy.orm import Session

from auditor import resources
from auditor.operations.arrivals import arrived, check
from auditor.operations.errors import NotFound, Unacceptable
from auditor.operations.names import checked_filename, checked_name, is_id
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.store import tables
from auditor.store.queries import datasets as queries

SUFFIXES = (".npz", ".npy", ".zip", ".csv", ".tsv", ".parquet", ".pq")


def checked(name: str, filename: str) -> tuple[str, str]:
    """The name and filename as they are kept. Raises Unacceptable: the filename's suffix says how the file is read."""
    name, filename = checked_name(name, "dataset"), checked_filename(filename)
    if PurePath(filename).suffix.lower() not in SUFFIXES:
        raise Unacceptable(f"{filename} has a form that is not read; the filename ends in {', '.join(SUFFIXES)}")
    return name, filename


def add(
    service: Service, project_id: str, name: str, filename: str, sha256: str, size: int, upload: str | None = None
) -> resources.Dataset:
    """Make kept bytes a dataset, to be checked by a worker.

    upload: the id of the upload that they came by. Raises QuotaExceeded, or Conflict when the upload is gone.
    """
    with arrived(service, project_id, sha256, size, upload) as session:
        dataset_id = queries.add(
            session, project_id=project_id, name=name, filename=filename, sha256=sha256, size=size
        )
        check(session, project_id, dataset_id=dataset_id)
    return show(service, project_id, dataset_id)


def resolve(session: Session, project_id: str, text: str) -> tables.Dataset:
    """The dataset of an id, or the newest of a name. Raises NotFound."""
    found = queries.by_id(session, project_id, text) if is_id(text) else queries.newest(session, project_id, text)
    if found is None:
        raise NotFound(f"there is no dataset '{text}'")
    return found


def list_datasets(
    service: Service, project_id: str, name: str | None, before: str | None, limit: int
) -> list[resources.Dataset]:
    with service.database.reading() as session:
        return [_shown(row) for row in queries.of_project(session, project_id, name, before, limit)]


def show(service: Service, project_id: str, dataset: str) -> resources.Dataset:
    """Raises NotFound."""
    with service.database.reading() as session:
        return _shown(resolve(session, project_id, dataset))


def _shown(row: tables.Dataset) -> resources.Dataset:
    return resources.Dataset(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        size=row.size,
        filename=row.filename,
        state=cast(resources.CheckState, row.state),
        reason=row.reason,
        facts=row.facts,
        created_at=moment(row.created_at),
    )
