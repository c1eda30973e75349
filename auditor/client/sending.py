"""One request until it is answered: what is tried again, and when."""

import random
import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from auditor.client.errors import Unreachable, error_of
from auditor.client.steps import Answer, Call, ConnectionLost, Give, Pause, Request, Stream
from auditor.resources import Page, Resource

R = TypeVar("R", bound=Resource)
PATIENCE = 10.0  # seconds for which a request is tried again
LONG_PATIENCE = 180.0  # the same where hours of work wait on the other side
_LONGEST_PAUSE = 8.0


def path_of(*segments: object) -> str:
    """The path of a resource; names are quoted."""
    return "/api/v1/" + "/".join(quote(str(segment), safe="") for segment in segments)


def send(request: Request, *, patience: float | None = None) -> Call[Answer]:
    """The answer to a request, whatever its status below 300. Raises ServiceError by status, and Unreachable.

    Tried again with growing, jittered pauses: what did not reach the service; repeatable requests whose connection
    broke or whose gateway failed; and whatever the service itself says may be tried after a while.
    """
    for pause in pauses(patience):
        try:
            answer: Answer = yield request
        except ConnectionLost as lost:
            if pause is None or (lost.sent and not request.repeatable):
                raise Unreachable(f"{lost}; check that the service runs, its URL and the network") from lost
            yield Pause(pause)
            continue
        if answer.status < 300:
            return answer
        wait = _until_next_try(request, answer, pause)
        if wait is None:
            raise error_of(answer)
        yield Pause(wait)
    raise AssertionError("the last pause is None, at which every path above ends")


def pauses(patience: float | None = None) -> Iterator[float | None]:
    """Seconds between tries, growing and jittered, as long as patience lasts; then None once."""
    stop_at = time.monotonic() + (PATIENCE if patience is None else patience)
    pause = 0.2
    while (left := stop_at - time.monotonic()) > 0:
        yield min(left, pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _LONGEST_PAUSE)
    yield None


def _until_next_try(request: Request, answer: Answer, pause: float | None) -> float | None:
    """Seconds, or None where trying again is of no use."""
    if pause is None:
        return None
    after = retry_after(answer)
    if answer.status in (409, 429, 503) and after is not None:
        return max(after, pause)
    return pause if request.repeatable and answer.status in (502, 503, 504) else None


def retry_after(answer: Answer) -> float | None:
    """The seconds of a Retry-After header; None without one, or where it holds a date."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def fetch(kind: type[R], request: Request, *, patience: float | None = None) -> Call[R]:
    """The resource that a request gives."""
    answer = yield from send(request, patience=patience)
    return kind.model_validate_json(answer.body)


def fetch_json(request: Request) -> Call[Any]:
    """The JSON value that a request gives."""
    import json

    answer = yield from send(request)
    return json.loads(answer.body)


class Pages(Generic[R]):
    """A list of the service, read page by page. ended: the last page was read."""

    def __init__(self, kind: type[R], path: str, **params: object) -> None:
        self.ended = False
        self._kind = Page[kind]  # type: ignore[valid-type]
        self._path = path
        self._params = {name: value for name, value in params.items() if value is not None}

    def more(self) -> Call[list[R]]:
        """The items of the next page."""
        page = yield from fetch(self._kind, Request("GET", self._path, params=self._params))
        self._params = {**self._params, "cursor": page.next}
        self.ended = page.next is None
        return page.items


def every(kind: type[R], path: str, **params: object) -> Stream[R]:
    """The items of all pages, one after another."""
    pages = Pages(kind, path, **params)
    while not pages.ended:
        for item in (yield from pages.more()):
            yield Give(item)


def listed(kind: type[R], path: str, **params: object) -> Call[list[R]]:
    """The items of all pages together."""
    pages, items = Pages(kind, path, **params), []
    while not pages.ended:
        items += yield from pages.more()
    return items
