"""A worker's own folder on this machine, gone when the worker is, however it went."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.store.ids import new_id


@contextmanager
def own_folder(scratch: Path) -> Iterator[Path]:
    """An empty folder under `scratch` that no other worker has. Folders of workers that were killed are removed first:
    theirs are those whose lock nobody holds."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in scratch.glob("*.lock"):
        with _locked(other) as free:
            if free:
                shutil.rmtree(other.with_suffix(""), ignore_errors=True)
                other.unlink(missing_ok=True)
    folder = scratch / new_id()
    with _locked(folder.with_suffix(".lock")):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock could be had; it is held until the block ends, or the process does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
