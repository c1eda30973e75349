"""What every request passes through: an id, a line in the log, the limit of its body, and the check of its Host."""

import re
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auditor.api.problems import internal, problem
from auditor.logs import bound, log
from auditor.settings import Settings
from auditor.store.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Handlers at these paths read the body themselves, piece by piece, and count it.
_STREAMS = re.compile(r"/api/v1/(models|datasets|uploads/[^/]+)/?|/(models|datasets)/upload")


class RequestLog:
    """Gives each request an id (the caller's X-Request-Id, if it is short and plain), says in one line how it went,
    and answers for what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        headers: dict[str, str] = {"X-Request-Id": request_id, "X-Content-Type-Options": "nosniff"}
        scope.setdefault("state", {})["headers"] = headers
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(headers)
            await send(message)

        with bound(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:
                log.exception("request failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                await internal(scope["path"], request_id)(scope, receive, send_with_headers)
            finally:
                seconds = time.perf_counter() - started
                log.info(
                    "request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 4)
                )


class HostCheck:
    """On a loopback address, only requests to this machine's own names are answered: a web page whose name was made
    to point here (DNS rebinding) is refused."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", settings.host, urlsplit(settings.public_url).hostname or ""}
        self._checks = _loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._checks or _host(scope) in self._names:
            await self._app(scope, receive, send)
            return
        detail = "the service answers to this machine only; set AUDITOR_URL to the address that users reach it by"
        refusal = problem(400, "host-refused", "Not a name of this service", detail)
        await refusal(scope, receive, send)


class BodyLimit:
    """Refuses longer bodies with 413, whether they announce their length or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _STREAMS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(413, f"the body is longer than {self._limit} bytes")
            return message

        await self._app(scope, receive_some, send)


def _host(scope: Scope) -> str:
    try:
        return urlsplit("//" + Headers(scope=scope).get("host", "")).hostname or ""
    except ValueError:
        return ""


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
