"""The first page: what runs, who works, what was found last."""

from typing import Annotated

from fastapi import Request, Response

from auditor import resources
from auditor.api.audits import shown
from auditor.operations import audits, health, projects
from auditor.operations.service import Service
from auditor.web.pages import pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("audits:read")]

_AT_WORK: tuple[resources.AuditState, ...] = ("running", "queued", "settling", "cancelling")
_EACH = 20
_LAST = 10


@router.get("/")
def overview(request: Request, visitor: Reader) -> Response:
    service = visitor.service
    done = audits.page(service, visitor.project_id, state="done", limit=_LAST)
    with service.database.reading() as session:
        used = projects.usage(session, visitor.project_id)
    return render(
        request,
        visitor,
        "overview.html",
        running=_running(service, visitor.project_id),
        done=[shown(known) for known in done],
        workers=health.workers(service),
        used=used,
    )


@router.get("/running")
def running(request: Request, visitor: Reader) -> Response:
    """The part of the overview that moves."""
    found = _running(visitor.service, visitor.project_id)
    return render(request, visitor, "running.html", running=found, workers=health.workers(visitor.service))


def _running(service: Service, project_id: str) -> list[resources.Audit]:
    return [
        shown(known) for state in _AT_WORK for known in audits.page(service, project_id, state=state, limit=_EACH)
    ]
