"""Signing in and out."""

from typing import Annotated

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from auditor.api.access import ServiceDep
from auditor.operations import sessions
from auditor.operations.errors import Unauthorised
from auditor.web import session
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()


@router.get("/sign-in")
def ask(request: Request, service: ServiceDep, next: str = "/") -> Response:
    return _form(request, service, next)


@router.post("/sign-in")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    async with request.form(max_files=0, max_fields=10) as form:
        session.require_own(request, form, session.csrf_of(session.guest_of(request)))
        key, following = (str(form.get(name, "")) for name in ("key", "next"))
    try:
        token = await run_in_threadpool(sessions.open_session, service, key.strip())
    except Unauthorised:
        said = "This key is not known, has expired or was revoked."
        return _form(request, service, following, status=401, said=said)
    response = go(_own(following))
    session.remember(response, service, token)
    return response


@router.post("/sign-out")
def sign_out(request: Request, visitor: Annotated[Visitor, needs()]) -> Response:
    sessions.close_session(visitor.service, request.cookies[session.COOKIE])
    request.app.state.sessions.forget(visitor.caller.key_id)
    response = go("/sign-in")
    session.forget(response)
    return response


def _form(request: Request, service: ServiceDep, following: str, *, status: int = 200, said: str = "") -> Response:
    guest = session.guest_of(request)
    values = {"csrf": session.csrf_of(guest), "next": _own(following), "said": said}
    response = render(request, None, "sign_in.html", status, **values)
    session.remember_guest(response, service, guest)
    return response


def _own(path: str) -> str:
    """The path, if it is one of this site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
