"""Server-sent events, followed over as many connections as it takes."""

import time
from collections.abc import Iterator

from auditor.client.errors import Unreachable
from auditor.client.sending import LONG_PATIENCE, path_of, pauses, send
from auditor.client.steps import Call, ConnectionLost, Pause, Read, Request
from auditor.resources import Event

_SILENCE = 60.0  # seconds without even a heartbeat after which a connection counts as broken
_LAST = ("audit.done", "audit.failed", "audit.cancelled")


class Following:
    """Where one reader stands in an audit's events. ended: the last one was read."""

    def __init__(self, audit_id: str, after: int = 0) -> None:
        self.ended = False
        self._audit_id, self._number = audit_id, after
        self._lines: _Lines | None = None  # None: not connected
        self._pauses: Iterator[float | None] = pauses(LONG_PATIENCE)

    def more(self, stop_at: float | None = None) -> Call[list[Event]]:
        """The events of the next bytes: often none, since the service also sends signs of life.

        stop_at: by time.monotonic, when to come back at the latest. Raises Unreachable when it stays away.
        """
        try:
            if self._lines is None:
                yield from self._connect(stop_at)
                if self.ended:
                    return []
            chunk: bytes = yield Read()
        except (ConnectionLost, Unreachable) as error:
            yield from self._broken(error, stop_at)
            return []
        if not chunk:
            yield from self._broken(Unreachable("the service ended the events early"), stop_at)
            return []
        assert self._lines is not None
        self._pauses = pauses(LONG_PATIENCE)
        events = [event for event in self._lines.feed(chunk) if event.number > self._number]
        if events:
            self._number = events[-1].number
            self.ended = events[-1].type in _LAST
        return events

    def _connect(self, stop_at: float | None) -> Call[None]:
        left = LONG_PATIENCE if stop_at is None else max(0.1, stop_at - time.monotonic())
        headers = {"accept": "text/event-stream", "last-event-id": str(self._number)}
        path = path_of("audits", self._audit_id, "events")
        request = Request("GET", path, headers=headers, stream=True, timeout=min(_SILENCE, left))
        answer = yield from send(request, patience=left)
        self.ended = answer.status == 204  # what was known already was the last
        self._lines = _Lines()

    def _broken(self, error: Exception, stop_at: float | None) -> Call[None]:
        self._lines = None
        if stop_at is not None and time.monotonic() >= stop_at:
            return
        pause = next(self._pauses)
        if pause is None:
            raise Unreachable(f"{error}, again and again; the audit is not harmed by it") from error
        yield Pause(pause)


class _Lines:
    """Bytes of a stream -> its events. Comments and fields that are not known are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text.startswith("data:"):
                self._data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and self._data:
                yield Event.model_validate_json("\n".join(self._data))
                self._data = []
