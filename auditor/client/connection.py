"""What both clients connect with."""

import os
from typing import Any

import httpx

from auditor import __version__
from auditor.client.steps import ConnectionLost, Request
from auditor.errors import SpecError

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT = 10.0  # seconds


def connection(url: str | None, api_key: str | None) -> dict[str, Any]:
    """The settings of an httpx client. Raises SpecError for a URL that is none."""
    url = (url or os.environ.get("AUDITOR_URL") or DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SpecError(f"{url} is no URL of a service; write one such as {DEFAULT_URL} (--url or AUDITOR_URL)")
    api_key = api_key or os.environ.get("AUDITOR_API_KEY")
    headers = {"user-agent": f"auditor/{__version__}"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key.strip()}"
    return {"base_url": url, "headers": headers}


def arguments(request: Request) -> dict[str, Any]:
    """A request as httpx takes it."""
    return {
        "method": request.method,
        "url": request.path,
        "params": request.params,
        "headers": request.headers,
        "json": request.json,
        "content": request.content,
        "timeout": httpx.Timeout(request.timeout, connect=_CONNECT),
    }


def lost(error: httpx.TransportError, url: object) -> ConnectionLost:
    """A failure of the transport as the calls know it."""
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    what = "does not answer" if unsent else "broke the connection"
    return ConnectionLost(f"the service at {url} {what} ({error or type(error).__name__})", sent=not unsent)
