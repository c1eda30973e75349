"""Messages between a process and its child: facts as JSON and a payload of bytes, behind their lengths. No pickles."""

import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from auditor.errors import Damaged

MAX_FACTS: Final = 64 << 20
MAX_PAYLOAD: Final = 4 << 30

_MARK = b"msg\x01"
_PREFIX = struct.Struct("<4sIQ")  # mark, bytes of the facts, bytes of the payload
_PIECE = 1 << 20


class Pipe:
    """One end. read: gives some bytes, at most as many as asked for, and none at the end; write: takes all of them."""

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], None]) -> None:
        self._read, self._write = read, write

    def send(self, facts: Mapping[str, Any], payload: bytes = b"") -> None:
        """Raises ValueError for facts that are not JSON and for more bytes than a message may have."""
        text = json.dumps(facts, separators=(",", ":"), allow_nan=False).encode()
        if len(text) > MAX_FACTS or len(payload) > MAX_PAYLOAD:
            raise ValueError(f"{len(text)} + {len(payload)} bytes are more than a message may have")
        self._write(_PREFIX.pack(_MARK, len(text), len(payload)) + text)
        if payload:
            self._write(payload)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message. Raises EOFError when the other end is closed, also in the middle of a message, and Damaged
        for bytes that are none; memory is taken only as bytes come."""
        mark, facts_size, payload_size = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if mark != _MARK or facts_size > MAX_FACTS or payload_size > MAX_PAYLOAD:
            raise Damaged(f"what came through the pipe is no message ({mark!r}, {facts_size} + {payload_size} bytes)")
        text = self._exactly(facts_size)
        try:
            facts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"the facts of a message are not JSON: {error}") from None
        if not isinstance(facts, dict):
            raise Damaged("the facts of a message have no names")
        return facts, self._exactly(payload_size)

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._read(min(size, _PIECE))
            if not piece:
                raise EOFError("the other end of the pipe is closed")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def standard_pipe() -> Pipe:
    """The child's end, on its standard input and output, which are moved to descriptors of its own: whatever else
    reads standard input finds nothing, and whatever prints, in Python or below it, prints to standard error."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(sink, view) :]

    return Pipe(lambda size: os.read(source, size), write)
