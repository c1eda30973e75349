"""Audits: listed, followed while they run, read when they are done."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from auditor import resources
from auditor.api import files
from auditor.api.audits import shown
from auditor.api.pages import page
from auditor.api.results import MADE
from auditor.api.watch import WatchDep
from auditor.operations import audits, create, deletion, results
from auditor.operations.audits import Known
from auditor.operations.errors import Gone, NotDone, NotFound
from auditor.report.blocks import figures_of
from auditor.web import charts, reading
from auditor.web.command import command
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("audits:read")]
ReportReader = Annotated[Visitor, needs("reports:read")]
Writer = Annotated[Visitor, needs("audits:write")]

_PAGE = 50
_PATIENCE = 20.0  # seconds for which a page that follows an audit waits for news
_REPORTS = {"report.json": "report", "report.html": "html", "report.pdf": "pdf"}


@router.get("/audits")
def index(
    request: Request,
    visitor: Reader,
    state: resources.AuditState | None = None,
    model: str | None = None,
    cursor: str | None = None,
) -> Response:
    found = audits.page(
        visitor.service, visitor.project_id, state=state, model=model or None, before=cursor, limit=_PAGE + 1
    )
    listed = page([shown(known) for known in found], _PAGE)
    return render(request, visitor, "audits.html", page=listed, state=state, model=model or "")


@router.get("/audits/{audit_id}")
def show(request: Request, visitor: ReportReader, audit_id: str) -> Response:
    service, project_id = visitor.service, visitor.project_id
    known = audits.show(service, project_id, audit_id)
    values: dict[str, Any] = {
        "audit": shown(known),
        "command": command(known, audits.stand_ins(service, project_id, audit_id)),
        "seen": _sign(known),
    }
    if known.listed.audit.state != "done":
        return render(request, visitor, "audit_live.html", **values)
    stored = results.files(service, project_id, audit_id)
    try:
        read = reading.of(service, project_id, audit_id)
    except (Gone, NotDone):
        curves = results.curves(service, project_id, audit_id)
        return render(request, visitor, "audit_past.html", files=stored, curves=curves, **values)
    values |= {"files": stored, "formats": MADE, "read": read, "address": charts.address(f"/audits/{audit_id}")}
    return render(request, visitor, "audit_done.html", **values)


@router.get("/audits/{audit_id}/figures/{file}")
def figure(visitor: ReportReader, audit_id: str, file: str) -> Response:
    read = reading.of(visitor.service, visitor.project_id, audit_id)
    return charts.answer(figures_of(read.document), file)


@router.get("/audits/{audit_id}/live")
async def live(
    request: Request,
    visitor: Reader,
    watch: WatchDep,
    audit_id: str,
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The part of a running audit's page that moves, as soon as it is not as it was seen. When the audit was settled
    or has ended, the page has more to say and is to be loaded again."""
    known = await run_in_threadpool(audits.show, visitor.service, visitor.project_id, audit_id)
    if _sign(known) == seen and not known.ended and await watch.changed(audit_id, known.sign, _PATIENCE):
        known = await run_in_threadpool(audits.show, visitor.service, visitor.project_id, audit_id)
    response = await run_in_threadpool(render, request, visitor, "live.html", audit=shown(known), seen=_sign(known))
    settled = seen.startswith("settling:") and known.listed.audit.state != "settling"
    if known.ended or settled:
        response.headers["HX-Refresh"] = "true"
    return response


@router.post("/audits/{audit_id}/cancel")
def cancel(visitor: Writer, audit_id: str) -> Response:
    audits.cancel(visitor.service, visitor.project_id, audit_id)
    return go(f"/audits/{audit_id}")


@router.post("/audits/{audit_id}/delete")
def delete(visitor: Writer, audit_id: str) -> Response:
    deletion.delete_audit(visitor.service, visitor.project_id, audit_id)
    return go("/audits")


@router.post("/audits/{audit_id}/extend")
def extend(visitor: Writer, audit_id: str) -> Response:
    """More examples, or more epsilons of the norms that the audit has."""
    eps = {
        name.removeprefix("eps_"): visitor.said(name).replace(",", " ").split()
        for name in visitor.form
        if name.startswith("eps_") and visitor.said(name)
    }
    examples = visitor.said("examples")
    more = resources.Extension(eps=eps, examples=int(examples) if examples.isdecimal() and int(examples) else None)
    return go(f"/audits/{create.extend(visitor.service, visitor.project_id, audit_id, more)}")


@router.get("/audits/{audit_id}/exports/report.{suffix}")
def exported(visitor: ReportReader, audit_id: str, suffix: str) -> Response:
    """The report in a format for tools, to keep."""
    if suffix not in MADE:
        raise NotFound(f"there are no reports as '{suffix}'")
    made = results.exported(visitor.service, visitor.project_id, audit_id, MADE[suffix])
    headers = {"Content-Disposition": f'attachment; filename="report.{suffix}"'}
    return Response(made, headers=headers, media_type=MADE[suffix].media_type)


@router.get("/audits/{audit_id}/files/{name}")
def file(request: Request, visitor: ReportReader, audit_id: str, name: str) -> Response:
    """One of the audit's files, under its name or its kind; the reports for people are shown, others are kept."""
    kind = _REPORTS.get(name, name)
    found = results.file(visitor.service, visitor.project_id, audit_id, kind)
    response = files.send(request, visitor.service.artifacts, found, download=kind not in ("html", "pdf"))
    if kind == "html":
        response.headers["Content-Security-Policy"] = files.POLICY
    return response


def _sign(known: Known) -> str:
    state, events = known.sign
    return f"{state}:{events}"
