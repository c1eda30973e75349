"""The last part of an audit: its files, its points and its verdict, written once."""

import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from auditor.errors import AuditorError
from auditor.operations.blobs import keep
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.operations.work import items
from auditor.queue import Claim
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.queries import work as queries
from auditor.store.tables import Artifact

_CHUNK = 1 << 20
KINDS = {
    "report.json": ("report", "application/json"),
    "report.html": ("html", "text/html; charset=utf-8"),
    "report.pdf": ("pdf", "application/pdf"),
    "adversarial.npz": ("adversarial", "application/zip"),
    "outcomes.parquet": ("outcomes", "application/vnd.apache.parquet"),
}


class FileMissing(AuditorError):
    """The child said that it was done, and left no such file."""


def finished(service: Service, claim: Claim, folder: Path, answer: Mapping[str, Any], seconds: float) -> None:
    """The audit is done. folder: where its files are; answer: verdict, results_sha256, points and summary.

    The files are stored before the transaction; when the claim was lost they are nobody's, and are collected later.
    Raises FileMissing.
    """
    stored = {name: _store(service, folder / name) for name in KINDS}
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds)
        if audit is None:
            return
        for name, (sha256, size) in stored.items():
            blobs.refer(session, sha256, size)
            session.add(_artifact(audit.id, name, sha256, size))
        queries.replace_points(session, audit.id, answer["points"])
        audit.verdict, audit.results_sha256 = answer["verdict"], answer["results_sha256"]
        audit.facts = {**(audit.facts or {}), "summary": answer["summary"]}
        audit.state, audit.finished_at = "done", now()
        tell(session, audit.id, "audit.done", verdict=audit.verdict, results_sha256=audit.results_sha256)


def _store(service: Service, path: Path) -> tuple[str, int]:
    with _opened(path) as file:
        return keep(service, iter(lambda: file.read(_CHUNK), b""))


def _opened(path: Path) -> BufferedReader:
    """A file that the child wrote. It may have put a link there, to what it must not see: none is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise FileMissing(f"the audit's process left no file {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileMissing(f"the audit's process left something that is no file as {path.name}")
    return os.fdopen(descriptor, "rb")


def _artifact(audit_id: str, name: str, sha256: str, size: int) -> Artifact:
    kind, media_type = KINDS[name]
    return Artifact(
        audit_id=audit_id,
        kind=kind,
        filename=name,
        media_type=media_type,
        sha256=sha256,
        size=size,
        created_at=now(),
    )
