"""Files that a reader finds whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from auditor.errors import AuditorError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place at `path` when the block ends well, and leaves what was there when it does not.

    It is written beside its place, flushed to the disk and renamed; folders are made. AuditorError where the disk does
    not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise AuditorError(
            f"{path} cannot be written: {error.strerror}; what was saved before stays, and the same command goes on "
            "from there"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
