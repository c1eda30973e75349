"""Stored files as responses: whole or in part, with the digest as ETag."""

import re
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from auditor.store.artifacts import Artifacts, blob_key
from auditor.store.tables import Artifact

# A page of ours holds no script and fetches nothing; should a name in it ever become markup, it can do nothing either.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"

_PIECE = 4 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send(request: Request, artifacts: Artifacts, file: Artifact, *, download: bool = True) -> Response:
    """The file, the range of it that was asked for, or that the caller has it already. Raises ArtifactMissing."""
    etag = f'"{file.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if download:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(file.filename)}"
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    start, stop, status = 0, file.size, 200
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is not None and request.headers.get("if-range", etag) == etag and any(asked.groups()):
        start, stop = _bounds(asked[1], asked[2], file.size)
        if start >= stop:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"], status = f"bytes {start}-{stop - 1}/{file.size}", 206
    headers["Content-Length"] = str(stop - start)
    pieces = _pieces(artifacts, blob_key(str(file.sha256)), start, stop)
    first = next(pieces, b"")  # a file that is missing is found out before the answer has begun
    return StreamingResponse(chain([first], pieces), status, headers, media_type=file.media_type)


def _names(header: str, etag: str) -> bool:
    """Whether an If-None-Match holds this ETag; weak ones compare as equal (RFC 9110, section 13.1.2)."""
    return header.strip() == "*" or etag in (name.strip().removeprefix("W/") for name in header.split(","))


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """[start, stop) of a range with two ends, or one (RFC 9110, section 14.1.2); empty where there is none."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _pieces(artifacts: Artifacts, key: str, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, _PIECE):
        yield artifacts.read_range(key, at, min(_PIECE, stop - at))
