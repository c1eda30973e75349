"""Read-only links to reports, and what they open."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.operations import links
from auditor.operations.access import Caller
from auditor.operations.times import moment
from auditor.store.tables import Link

router = APIRouter(tags=["links"])
Reader = Annotated[Caller, needs("reports:read")]
Writer = Annotated[Caller, needs("audits:write")]

# Whoever sees the address can read the report: no cache keeps it, and no page that it leads to learns it.
_SECRECY = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_REPORT: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {"type": "object"}}}}}


@router.post("/audits/{audit_id}/links", status_code=201, summary="Let anyone with a link read the report")
def create(
    audit_id: str, new: resources.NewLink, caller: Writer, service: ServiceDep, response: Response
) -> resources.Link:
    """The answer holds the link's URL; it is shown this once."""
    response.headers["Cache-Control"] = "no-store"
    row, url = links.create(service, caller.project_id, audit_id, new.expires_in)
    return _shown(row, url)


@router.get("/audits/{audit_id}/links", summary="The report's links that have not expired")
def listed(audit_id: str, caller: Reader, service: ServiceDep) -> resources.Page[resources.Link]:
    return resources.Page(items=[_shown(row) for row in links.listed(service, caller.project_id, audit_id)])


@router.delete("/audits/{audit_id}/links/{link_id}", status_code=204, summary="Revoke a link")
def revoke(audit_id: str, link_id: str, caller: Writer, service: ServiceDep) -> None:
    links.revoke(service, caller.project_id, audit_id, link_id)


@router.get(
    "/shared/{token}/report.json",
    summary="The report that a link opens; needs no key",
    response_class=StreamingResponse,
    responses=_REPORT,
)
def shared(token: str, service: ServiceDep) -> StreamingResponse:
    return StreamingResponse(links.shared_report(service, token), media_type="application/json", headers=_SECRECY)


def _shown(row: Link, url: str | None = None) -> resources.Link:
    return resources.Link(id=row.id, url=url, created_at=moment(row.created_at), expires_at=moment(row.expires_at))
