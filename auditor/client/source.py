"""Bytes that are to be uploaded: a file, or what is in memory already."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from auditor.errors import InputError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """size: bytes."""

    filename: str
    size: int
    file: BinaryIO

    def read(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(length)

    def sha256(self) -> str:
        """The digest of all bytes, read in constant memory."""
        self.file.seek(0)
        digest = hashlib.sha256()
        while chunk := self.file.read(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()


@contextmanager
def opened(content: Path | str | bytes, filename: str) -> Iterator[Source]:
    """content: a path, or the bytes themselves, which go by `filename`. InputError where the file cannot be read."""
    if isinstance(content, bytes):
        yield Source(filename, len(content), io.BytesIO(content))
        return
    path = Path(content)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield Source(path.name, path.stat().st_size, file)
