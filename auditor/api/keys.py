"""API keys of the caller's project."""

from typing import Annotated, cast

from fastapi import APIRouter, Request

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.pages import Cursor, Limit, page
from auditor.operations import keys
from auditor.operations.access import Caller
from auditor.operations.times import moment
from auditor.store.tables import Key

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", status_code=201, summary="Make a key; it is shown this once")
def create(
    body: resources.NewKey, caller: Annotated[Caller, needs("keys:write")], service: ServiceDep
) -> resources.Key:
    with service.database.transaction() as session:
        row, text = keys.create_key(
            session,
            caller.project_id,
            body.name,
            body.role,
            body.scopes,
            body.expires_in,
            granted=caller.scopes,
        )
    return shown(row, text)


@router.get("", summary="List keys, newest first")
def index(
    caller: Annotated[Caller, needs("keys:read")], service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Key]:
    with service.database.reading() as session:
        rows = keys.list_keys(session, caller.project_id, cursor, limit + 1)
    return page([shown(row) for row in rows], limit)


@router.delete("/{key_id}", status_code=204, summary="Revoke a key")
def revoke(
    key_id: str, caller: Annotated[Caller, needs("keys:write")], service: ServiceDep, request: Request
) -> None:
    """Other processes of the service may accept it for a few seconds more."""
    with service.database.transaction() as session:
        keys.revoke(session, caller.project_id, key_id)
    request.app.state.keyring.forget(key_id)


def shown(row: Key, text: str | None = None) -> resources.Key:
    return resources.Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        role=cast(resources.Role, row.role),
        scopes=row.scopes,
        key=text,
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
        last_used_at=moment(row.last_used_at),
        revoked_at=moment(row.revoked_at),
    )
