"""The last part of an audit: its files, its points and its verdict, written once."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.operations.work import items
from auditor.queue import Claim
from auditor.store.artifacts import blob_key
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.queries import work as queries
from auditor.store.tables import Artifact

_CHUNK = 1 << 20
_MEDIA_TYPES = {
    ".json": "application/json",
    ".npz": "application/zip",
    ".parquet": "application/vnd.apache.parquet",
}


def finished(service: Service, claim: Claim, folder: Path, answer: Mapping[str, Any], seconds: float) -> None:
    """The audit is done. folder: where its files are; answer: verdict, results_sha256, points and the files' names.

    The files are stored before the transaction; when the claim was lost they are nobody's, and are collected later.
    """
    stored = [(folder / name, *_store(service, folder / name)) for name in answer["files"]]
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds)
        if audit is None:
            return
        for path, sha256, size in stored:
            blobs.refer(session, sha256, size)
            session.add(_artifact(audit.id, path, sha256, size))
        queries.replace_points(session, audit.id, answer["points"])
        audit.verdict, audit.results_sha256 = answer["verdict"], answer["results_sha256"]
        audit.state, audit.finished_at = "done", now()
        tell(session, audit.id, "audit.done", verdict=audit.verdict, results_sha256=audit.results_sha256)


def _store(service: Service, path: Path) -> tuple[str, int]:
    """Keep a file as a blob. Its row comes first, so that equal bytes that nobody needed are not collected meanwhile."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with service.database.transaction() as session:
        blobs.refer(session, sha256, path.stat().st_size)
    found = service.artifacts.head(blob_key(sha256))
    if found is not None and found.size == path.stat().st_size:
        return sha256, found.size
    return service.artifacts.put(_chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _artifact(audit_id: str, path: Path, sha256: str, size: int) -> Artifact:
    return Artifact(
        audit_id=audit_id,
        kind=path.stem,
        filename=path.name,
        media_type=_MEDIA_TYPES[path.suffix],
        sha256=sha256,
        size=size,
        created_at=now(),
    )
