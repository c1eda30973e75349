"""Copies of models, datasets and reports out of the artifact store, for a child to read."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from auditor.errors import AuditorError
from auditor.operations.service import Service
from auditor.operations.work.tasks import File
from auditor.store.artifacts import blob_key


class Interrupted(AuditorError):
    """A copy was given up because its work is to stop."""


class DigestMismatch(AuditorError):
    """Bytes in the artifact store are not those that were put there."""


def fetch(service: Service, file: File, folder: Path, stop: Callable[[], bool]) -> Path:
    """The file under its own name in the folder, copied there unless it is there already, its digest verified.

    Raises ArtifactMissing, DigestMismatch, and Interrupted when stop() asks for it.
    """
    path = folder / (Path(file.filename).name.lstrip(".") or "file")
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial, digest = path.with_name(f".{path.name}.part"), hashlib.sha256()
    with partial.open("wb") as copy:
        for chunk in service.artifacts.stream(blob_key(file.sha256)):
            if stop():
                raise Interrupted(f"the copy of {file.filename} was given up")
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise DigestMismatch(f"the bytes of {file.filename} in the artifact store are damaged; run 'auditor fsck'")
    partial.replace(path)
    return path
