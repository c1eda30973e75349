"""Who looks at a page: a session in a cookie, and the proof that a form was sent from one of our pages.

The cookie is sent to no other site's requests (SameSite=Strict) and is read by no script (HttpOnly). A form's token can be
made only from the cookie, which no other site knows.
"""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastapi import BackgroundTasks, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import SecurityScopes
from starlette.datastructures import FormData, UploadFile

from auditor.api.access import ServiceDep, admit
from auditor.errors import AuditorError
from auditor.operations import projects, sessions
from auditor.operations.access import Caller
from auditor.operations.errors import Forbidden, TooLarge, Unacceptable, Unauthorised
from auditor.operations.service import Service

COOKIE = "auditor_session"
_GUEST = "auditor_guest"  # a random text that a form's token is made from before there is a session
_FIELD = "csrf"


class SignInFirst(AuditorError):
    """A page was asked for by nobody that is known."""


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in, and the form that they sent, if this is one."""

    service: Service
    caller: Caller
    csrf: str
    form: FormData = field(default_factory=FormData)

    @property
    def project_id(self) -> str:
        return self.caller.project_id

    def may(self, scope: str) -> bool:
        return scope in self.caller.scopes

    def said(self, name: str) -> str:
        """A field of the form, without spaces around it; empty where it is not there."""
        value = self.form.get(name)
        return value.strip() if isinstance(value, str) else ""

    def ticked(self, name: str) -> list[str]:
        """The values of all fields of this name."""
        return [value for value in self.form.getlist(name) if isinstance(value, str)]

    def file(self, name: str) -> UploadFile:
        """Raises Unacceptable where no file was chosen."""
        value = self.form.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            raise Unacceptable("no file was chosen; choose one and send the form again")
        return value


async def visitor(
    request: Request, wanted: SecurityScopes, tasks: BackgroundTasks, service: ServiceDep
) -> AsyncIterator[Visitor]:
    """Who asks. Raises SignInFirst, Forbidden (also for a form that is not ours), RateLimited or TooLarge."""
    token = request.cookies.get(COOKIE, "")
    try:
        caller, looked_up = await request.app.state.sessions.caller(service, token)
    except Unauthorised:
        raise SignInFirst from None
    await admit(request, tasks, service, caller, wanted.scopes, looked_up=looked_up)
    csrf = csrf_of(token)
    if request.method == "GET":
        yield Visitor(service, caller, csrf)
        return
    await _room(request, service, caller)
    async with request.form(max_files=1, max_fields=100) as form:
        require_own(request, form, csrf)
        yield Visitor(service, caller, csrf, form)


def needs(*scopes: str) -> Any:
    """The dependency that gives a page its visitor, who must hold one of these scopes."""
    return Security(visitor, scopes=scopes)


def csrf_of(secret: str) -> str:
    """What forms carry for whom this secret was given."""
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


def require_own(request: Request, form: FormData, csrf: str) -> None:
    """Raises Forbidden for a form that did not come from a page that was made for this browser."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    said = form.get(_FIELD)
    if foreign or not isinstance(said, str) or not hmac.compare_digest(said.encode(), csrf.encode()):
        raise Forbidden(
            "this form is out of date or came from another site; go back, load the page again, and repeat"
        )


def guest_of(request: Request) -> str:
    """The secret of who has not signed in; a new one where there is none."""
    return request.cookies.get(_GUEST) or secrets.token_urlsafe(32)


def remember_guest(response: Response, service: Service, secret: str) -> None:
    _keep(response, service, _GUEST, secret)


def remember(response: Response, service: Service, token: str) -> None:
    """Let the browser hold a session."""
    _keep(response, service, COOKIE, token)


def forget(response: Response) -> None:
    response.delete_cookie(COOKIE)


def _keep(response: Response, service: Service, name: str, value: str) -> None:
    secure = service.settings.public_url.startswith("https:")
    seconds = int(sessions.SECONDS)
    response.set_cookie(name, value, max_age=seconds, secure=secure, httponly=True, samesite="strict")


async def _room(request: Request, service: Service, caller: Caller) -> None:
    """Raises TooLarge or QuotaExceeded before a body is read that would not be kept."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise Unacceptable("the form came without its length (the header Content-Length)")
    limit = max(service.settings.max_model_bytes, service.settings.max_dataset_bytes)
    if int(length) > limit:
        raise TooLarge(f"{length} bytes are more than the {limit} that are accepted here")
    await run_in_threadpool(projects.room, service, caller.project_id, int(length))
