"""What happens to every file that has arrived whole, model or dataset: it counts against the quota, and a worker checks it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from auditor import queue
from auditor.operations import projects, uploads
from auditor.operations.service import Service
from auditor.store.queries import blobs

_PRIORITY = 100  # somebody waits for it


@contextmanager
def arrived(service: Service, project_id: str, sha256: str, size: int, upload: str | None) -> Iterator[Session]:
    """A transaction in which kept bytes are given to a new row, which `check` then queues.

    upload: the id of the upload that they came by. Raises QuotaExceeded, or Conflict when the upload is gone.
    """
    with service.database.transaction() as session:
        if upload is not None:
            uploads.use(session, project_id, upload)
        projects.check_bytes(session, project_id, size)
        blobs.refer(session, sha256, size)
        yield session
    service.ring()
    if upload is not None:
        uploads.remove_pieces(service, upload)


def check(session: Session, project_id: str, *, version_id: str | None = None, dataset_id: str | None = None) -> None:
    """Have a worker check a model's version or a dataset."""
    queue.put(
        session,
        project_id=project_id,
        kind="check",
        name="check",
        version_id=version_id,
        dataset_id=dataset_id,
        priority=_PRIORITY,
    )
