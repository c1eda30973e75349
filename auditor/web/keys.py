"""API keys of the project."""

from typing import Annotated

from fastapi import Request, Response

from auditor import resources
from auditor.api.keys import shown
from auditor.api.pages import page
from auditor.operations import keys
from auditor.operations.access import ROLES
from auditor.operations.errors import Unacceptable
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("keys:read")]
Writer = Annotated[Visitor, needs("keys:write")]

_PAGE = 100
_DAY = 86400.0


@router.get("/keys")
def index(request: Request, visitor: Reader, cursor: str | None = None) -> Response:
    return _list(request, visitor, cursor)


@router.post("/keys")
def create(request: Request, visitor: Writer) -> Response:
    """The answer shows the key, this once."""
    name, role, days = (visitor.said(word) for word in ("name", "role", "days"))
    if not 0 < len(name) <= 200 or role not in ROLES or not (days.isdecimal() and int(days) <= 36500):
        raise Unacceptable("a key has a name of 1 to 200 characters, a role, and so many days to live, 0 for no end")
    with visitor.service.database.transaction() as session:
        row, text = keys.create_key(
            session,
            visitor.project_id,
            name,
            role,
            expires_in=int(days) * _DAY or None,
            granted=visitor.caller.scopes,
        )
    return _list(request, visitor, None, made=shown(row, text))


@router.post("/keys/{key_id}/revoke")
def revoke(request: Request, visitor: Writer, key_id: str) -> Response:
    with visitor.service.database.transaction() as session:
        keys.revoke(session, visitor.project_id, key_id)
    for known in (request.app.state.keyring, request.app.state.sessions):
        known.forget(key_id)
    return go("/keys")


def _list(request: Request, visitor: Visitor, cursor: str | None, made: resources.Key | None = None) -> Response:
    with visitor.service.database.reading() as session:
        rows = keys.list_keys(session, visitor.project_id, cursor, _PAGE + 1)
    listed = page([shown(row) for row in rows], _PAGE)
    return render(request, visitor, "keys.html", page=listed, made=made, roles=tuple(ROLES))
