"""Deleting for good: rows with everything that was derived from them, and the bytes that nothing needs any more.

The rows go in one transaction. Bytes go after it, so that a kill in between leaves bytes without rows, which
`auditor gc` removes, and never rows without bytes.
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from auditor.operations.errors import Conflict, NotFound
from auditor.operations.service import Service
from auditor.resources import FINISHED
from auditor.store.artifacts import blob_key
from auditor.store.queries import retention as queries
from auditor.store.queries.retention import Reference
from auditor.store.tables import Audit, Dataset, Item, Model, Version

T = TypeVar("T")


def delete_audit(service: Service, project_id: str, audit_id: str) -> None:
    """Delete an audit with its outcomes, events, artifacts and checkpoints. Raises NotFound, and Conflict while it is
    not finished or a worker is still at it."""
    with service.database.transaction() as session:
        audit = _found(queries.lock_audit(session, project_id, audit_id), "audit", audit_id)
        files = _released(session, [audit])
        queries.remove(session, Audit, [audit.id])
    _erase(service, [audit.id], files)


def delete_version(service: Service, project_id: str, version_id: str) -> None:
    """Delete a version of a model and every audit of it or with it as a surrogate. Raises NotFound, and Conflict while a worker is at it or one
    of its audits is not finished."""
    with service.database.transaction() as session:
        version = _found(queries.lock_version(session, project_id, version_id), "version", version_id)
        audits, files = _delete_derived(session, [version])
        queries.remove(session, Version, [version.id])
    _erase(service, audits, files)


def delete_model(service: Service, project_id: str, model_id: str) -> None:
    """Delete a model, its versions and every audit of them. Raises as delete_version does."""
    with service.database.transaction() as session:
        model = _found(queries.lock_model(session, project_id, model_id), "model", model_id)
        audits, files = _delete_derived(session, queries.lock_versions(session, model.id))
        queries.remove(session, Model, [model.id])
    _erase(service, audits, files)


def delete_dataset(service: Service, project_id: str, dataset_id: str) -> None:
    """Delete a dataset and every audit with it. Raises as delete_version does."""
    with service.database.transaction() as session:
        dataset = _found(queries.lock_dataset(session, project_id, dataset_id), "dataset", dataset_id)
        audits, files = _delete_derived(session, [dataset])
        queries.remove(session, Dataset, [dataset.id])
    _erase(service, audits, files)


def remove_blob(service: Service, sha256: str, *, unused_since: float) -> bool:
    """Delete a blob, row and bytes, unless something refers to it or it was used later; whether it was deleted.

    The bytes go while the row is locked: whoever refers to the blob at this moment waits, and then makes it anew.
    """
    with service.database.transaction() as session:
        blob = queries.lock_blob(session, sha256)
        if blob is None or blob.used_at > unused_since or queries.is_referred(session, sha256):
            return False
        queries.remove_blob(session, sha256)
        service.artifacts.delete([blob_key(sha256)])
    return True


def _found(row: T | None, what: str, wanted: str) -> T:
    if row is None:
        raise NotFound(f"there is no {what} {wanted} in this project")
    return row


def _delete_derived(session: Session, of: Sequence[Version] | Sequence[Dataset]) -> tuple[list[str], list[Reference]]:
    """Delete the audits that go with these rows; their ids, and the blobs of both. Raises Conflict."""
    if not of:
        return [], []
    table = type(of[0])
    audits = queries.lock_audits(session, table, [row.id for row in of])
    files = _released(session, audits)
    column = Item.version_id if table is Version else Item.dataset_id
    if queries.at_work(session, column, [row.id for row in of]):
        raise Conflict("a worker is checking it right now; try again when that has ended")
    gone = [audit.id for audit in audits]
    queries.remove(session, Audit, gone)
    return gone, [*files, *(Reference(row.sha256, row.created_at) for row in of)]


def _released(session: Session, audits: Sequence[Audit]) -> list[Reference]:
    """The blobs of audits that may be deleted. Raises Conflict for one that may not."""
    for audit in audits:
        if audit.state not in FINISHED:
            raise Conflict(f"audit {audit.id} is {audit.state}; cancel it first, or wait until it is finished")
    ids = [audit.id for audit in audits]
    if queries.at_work(session, Item.audit_id, ids):
        raise Conflict("a worker has not yet let go of a cancelled audit; try again in some seconds")
    return queries.files_of(session, ids)


def _erase(service: Service, audits: Collection[str], files: Collection[Reference]) -> None:
    for audit_id in audits:
        service.artifacts.delete([stored.key for stored in service.artifacts.list(f"work/{audit_id}")])
    for file in files:
        # One that was used later may be about to be referred to by somebody else; `auditor gc` takes it when its grace
        # is over and nobody did.
        remove_blob(service, file.sha256, unused_since=file.since)
