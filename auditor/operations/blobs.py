"""Bytes that users send."""

from collections.abc import Iterable

from auditor.operations.errors import TooLarge, Unacceptable
from auditor.operations.service import Service
from auditor.store.artifacts import TooManyBytes
from auditor.store.queries import blobs


def keep(service: Service, chunks: Iterable[bytes], limit: int) -> tuple[str, int]:
    """Keep a stream as a blob, in constant memory; (sha256, size).

    Bytes that are there already take the same way, so that nobody learns what others have. What nothing refers to is
    collected later. Raises TooLarge, and Unacceptable for no bytes at all.
    """
    try:
        sha256, size = service.artifacts.put(chunks, limit=limit)
    except TooManyBytes:
        raise TooLarge(f"the file is larger than the {limit} bytes that are accepted for this") from None
    if size == 0:
        raise Unacceptable("no bytes came; send the file as the body, or name a finished upload")
    with service.database.transaction() as session:
        blobs.refer(session, sha256, size)
    return sha256, size
