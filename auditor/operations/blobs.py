"""Bytes that are kept under their digest: what users send, and what audits give."""

from collections.abc import Iterable

from auditor.operations.errors import Unacceptable
from auditor.operations.service import Service
from auditor.store.artifacts import Incoming
from auditor.store.queries import blobs


def keep(service: Service, chunks: Iterable[bytes]) -> tuple[str, int]:
    """Keep a stream as a blob, in constant memory; (sha256, size). Raises Unacceptable for no bytes at all."""
    with service.artifacts.incoming() as incoming:
        for chunk in chunks:
            incoming.write(chunk)
        return settle(service, incoming)


def settle(service: Service, incoming: Incoming) -> tuple[str, int]:
    """The same for what has come in already.

    Bytes that are there already take the same way, so that nobody learns what others have. What nothing refers to is
    collected later: the row comes before the move, so that who collects the same bytes at this moment is either done
    before it or leaves them.
    """
    sha256, size = incoming.end()
    if size == 0:
        raise Unacceptable("no bytes came; send the file as the body, or name a finished upload")
    with service.database.transaction() as session:
        blobs.refer(session, sha256, size)
    incoming.move()
    return sha256, size
