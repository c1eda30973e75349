"""Raw request bodies, read as they come: what is held in memory does not grow with the file."""

from collections.abc import AsyncIterator

from anyio import CancelScope
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from auditor.operations import blobs, projects, uploads
from auditor.operations.errors import TooLarge, Unacceptable
from auditor.operations.service import Service
from auditor.store.artifacts import TooManyBytes

PIECE = 8 << 20
RAW_BODY = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


async def keep(
    request: Request, service: Service, project_id: str, upload: str | None, limit: int
) -> tuple[str, int]:
    """Keep the body, or the finished upload that is named instead of one, as a blob; (sha256, size).

    Raises TooLarge or QuotaExceeded as soon as that is known; Unacceptable for no bytes, or for both; and what
    `uploads.assemble` raises.
    """
    announced = _announced(request)
    if upload is not None:
        if announced or "transfer-encoding" in request.headers:
            raise Unacceptable("send either a body or the id of an upload, not both")
        return await run_in_threadpool(uploads.assemble, service, project_id, upload, limit)
    too_large = TooLarge(f"the file is larger than the {limit} bytes that are accepted for this")
    if announced > limit:
        raise too_large
    room = await run_in_threadpool(projects.room, service, project_id, announced)
    incoming = await run_in_threadpool(service.artifacts.incoming, limit if room is None else min(limit, room))
    try:
        async for piece in pieces(request, PIECE):  # no thread is held while the next one is awaited
            await run_in_threadpool(incoming.write, piece)
        return await run_in_threadpool(blobs.settle, service, incoming)
    except TooManyBytes:
        await run_in_threadpool(projects.room, service, project_id, incoming.size)
        raise too_large from None
    finally:
        with CancelScope(shield=True):
            await run_in_threadpool(incoming.leave)


async def pieces(request: Request, size: int) -> AsyncIterator[bytes]:
    """The body in pieces of `size` bytes, the last one shorter. When the connection breaks, what came is given first;
    then ClientDisconnect is raised."""
    held = bytearray()
    try:
        async for chunk in request.stream():
            held += chunk
            while len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
    except ClientDisconnect:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)


def _announced(request: Request) -> int:
    """The body's length, as far as the request says it; else 0."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0
