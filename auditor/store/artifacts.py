"""Bytes that are too large for the database: a local folder, or an S3-compatible bucket.

Blobs lie under their SHA-256 and never change; everything else (pieces of an upload, checkpoints) lies under a key
that its owner chose, is written whole or not at all, and is deleted by its owner.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError as StoreError
from obstore.store import LocalStore, from_url

from auditor.errors import AuditorError, SpecError
from auditor.store.ids import new_id

__all__ = ["ArtifactMissing", "Artifacts", "Incoming", "StoreError", "Stored", "TooManyBytes", "blob_key"]

_CHUNK = 8 << 20
_PARTS = 4  # chunks on their way at once
_LARGEST_COPY = 5 << 30  # bytes that S3 copies in one request


class ArtifactMissing(AuditorError):
    """Bytes that the database refers to are not in the artifact store."""


class TooManyBytes(AuditorError):
    """A stream was longer than its limit; nothing of it was kept."""


@dataclass(frozen=True)
class Stored:
    """What lies under a key. modified_at: in UTC."""

    key: str
    size: int
    modified_at: datetime


class Artifacts:
    """An artifact store. Safe to share between threads and processes."""

    def __init__(self, store: Any, folder: Path | None = None) -> None:
        self._store, self._folder = store, folder

    @classmethod
    def open(cls, url: str) -> "Artifacts":
        """url: a folder, which is made, or s3://bucket/prefix, with AWS_… in the environment (AWS_ENDPOINT_URL,
        AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP …). Raises SpecError for others."""
        if "://" not in url:
            folder = Path(url).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder), folder)
        if not url.startswith("s3://"):
            raise SpecError(f"artifacts cannot be kept at {url}; give a folder or s3://bucket/prefix")
        return cls(from_url(url))

    def incoming(self, limit: int | None = None) -> "Incoming":
        """The way in for a blob. limit: of its bytes."""
        return Incoming(self, limit)

    def put(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Keep a stream as a blob, in constant memory; (sha256, size)."""
        with self.incoming() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            named = incoming.end()
            incoming.move()
        return named

    def read(self, key: str) -> bytes:
        """All bytes under a key. Raises ArtifactMissing."""
        return bytes(self._get(key).bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes under a key, some megabytes at a time. Raises ArtifactMissing before the first."""
        found = self._get(key)
        return (bytes(chunk) for chunk in found.stream(min_chunk_size=1 << 20))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`. Raises ArtifactMissing."""
        try:
            return bytes(obstore.get_range(self._store, key, start=start, length=length))
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{key} is not in the artifact store; run 'auditor fsck'") from error

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key, whole or not at all."""
        obstore.put(self._store, key, data)

    def head(self, key: str) -> Stored | None:
        try:
            return _stored(obstore.head(self._store, key))
        except FileNotFoundError:
            return None

    def delete(self, keys: Iterable[str]) -> None:
        """Delete what is there of these keys."""
        for key in keys:
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                continue

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """What lies under a prefix of whole path segments, such as `work/ID`."""
        for page in obstore.list(self._store, prefix=prefix or None):
            yield from map(_stored, page)

    def sweep(self, before: float) -> int:
        """Remove what killed writers left half-written in a local folder, last touched before; gives how much it was.

        Such files are no keys: nothing lists them. A bucket keeps unfinished uploads apart; a rule of its own ends them.
        """
        removed = 0
        for path in self._folder.rglob("*#*") if self._folder else ():
            with suppress(FileNotFoundError):  # its writer has finished meanwhile
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def path(self, key: str) -> Path | None:
        """Where the bytes lie on this machine's disk, if they do; not to be changed."""
        return None if self._folder is None else self._folder / key

    def writer(self, key: str) -> Any:
        """A file-like object; what is written to it lies under the key when it is closed."""
        return obstore.open_writer(self._store, key, buffer_size=_CHUNK, max_concurrency=_PARTS)

    def move(self, key: str, target: str, size: int) -> None:
        """Put what lies under a key under another one, in place of what is there. size: in bytes."""
        if self._folder is not None or size <= _LARGEST_COPY:
            obstore.rename(self._store, key, target)
        else:
            writer = self.writer(target)
            for chunk in self.stream(key):
                writer.write(chunk)
            writer.close()  # not reached when the stream breaks, so that half a blob never lies under its digest
            self.delete([key])

    def _get(self, key: str) -> Any:
        try:
            return obstore.get(self._store, key)
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{key} is not in the artifact store; run 'auditor fsck'") from error


class Incoming:
    """A blob on its way in, in constant memory: `write` it, `end` it, and `move` it to where blobs lie.

    Until then it lies under a key of its own; a block that ends without the move leaves nothing. Any thread may make
    the next call. size: of what came so far.
    """

    def __init__(self, artifacts: Artifacts, limit: int | None) -> None:
        self._artifacts, self._limit = artifacts, limit
        self._key = f"incoming/{new_id()}"
        self._writer = artifacts.writer(self._key)
        self._digest, self._moved = hashlib.sha256(), False
        self.size = 0

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def write(self, chunk: bytes) -> None:
        """Raises TooManyBytes."""
        self.size += len(chunk)
        if self._limit is not None and self.size > self._limit:
            raise TooManyBytes(f"more than {self._limit} bytes came")
        self._digest.update(chunk)
        self._writer.write(chunk)

    def end(self) -> tuple[str, int]:
        """(sha256, size) of all that was written, which is in the store now."""
        self._writer.close()
        return self._digest.hexdigest(), self.size

    def move(self) -> None:
        """Put it under its digest; equal bytes may replace equal bytes."""
        self._artifacts.move(self._key, blob_key(self._digest.hexdigest()), self.size)
        self._moved = True

    def leave(self) -> None:
        """Remove what was not moved."""
        if self._moved:
            return
        with suppress(OSError):  # it is closed already, or the store has said what is wrong with it
            self._writer.close()
        self._artifacts.delete([self._key])


def blob_key(sha256: str) -> str:
    """Where a blob lies."""
    return f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _stored(meta: Any) -> Stored:
    return Stored(meta["path"], meta["size"], meta["last_modified"])
