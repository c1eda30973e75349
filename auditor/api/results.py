"""What an audit found: its report and other files, curves, outcomes and examples."""

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from auditor import resources
from auditor.api import files, problems
from auditor.api.access import ServiceDep, needs
from auditor.api.audits import shown
from auditor.api.pages import Cursor, Limit
from auditor.operations import audits, results
from auditor.operations.access import Caller
from auditor.operations.errors import NotDone, NotFound
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.report.formats import FORMATS, Format
from auditor.spec import Norm
from auditor.store.tables import Artifact, Point

router = APIRouter(prefix="/audits/{audit_id}", tags=["results"])
Reader = Annotated[Caller, needs("reports:read")]
Accept = Annotated[str, Header(include_in_schema=False)]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_JSON = {"schema": {"type": "object"}}
_ARRAY: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": _BINARY}}}
_PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The range that was asked for"},
    304: {"description": "The caller has it already"},
    416: {"description": "There is no such range"},
}
_ARTIFACT: dict[int | str, dict[str, Any]] = {
    **_PARTS,
    200: {
        "content": {"application/json": _JSON, "*/*": _BINARY},
        "description": "The file; its ETag is its SHA-256",
    },
}
_NO_REPORT = resources.NoReport.model_json_schema(ref_template="#/components/schemas/{model}")
del _NO_REPORT["$defs"]  # they are among the components, as parts of an audit
_REPORT: dict[int | str, dict[str, Any]] = {
    **_PARTS,
    200: {"content": {"application/json": _JSON}, "description": "report.json"},
    202: {"model": resources.Audit, "description": "The audit runs: what is known so far"},
    409: {
        "content": {problems.MEDIA_TYPE: {"schema": _NO_REPORT}},
        "description": "The audit failed or was cancelled",
    },
}
_ROWS: dict[int | str, dict[str, Any]] = {
    200: {"model": resources.Page[resources.Outcome], "content": {"text/csv": {"schema": {"type": "string"}}}}
}
_PAGES: dict[int | str, dict[str, Any]] = {
    **_REPORT,
    200: {
        "content": {"text/html": {"schema": {"type": "string"}}, "application/pdf": _BINARY},
        "description": "The report for people",
    },
}
_STORED = ("json", "html", "pdf")
MADE = {format.suffix: format for format in FORMATS.values() if format.suffix not in _STORED}
_RETRY_SECONDS = "5"


@router.get("/report.json", response_class=Response, responses=_REPORT, summary="The report")
def report(audit_id: str, caller: Reader, service: ServiceDep, request: Request) -> Response:
    """The stored bytes. Too early, the answer is the audit as it stands, with bounds."""
    return _report(audit_id, "report", caller, service, request)


@router.get("/report.html", response_class=Response, responses=_PAGES, summary="The report as a page")
def page(audit_id: str, caller: Reader, service: ServiceDep, request: Request) -> Response:
    """One file without scripts. Too early, the answer is as for report.json."""
    response = _report(audit_id, "html", caller, service, request)
    response.headers["Content-Security-Policy"] = files.POLICY
    return response


@router.get("/report.pdf", response_class=Response, responses=_PAGES, summary="The report as a PDF")
def document(audit_id: str, caller: Reader, service: ServiceDep, request: Request) -> Response:
    """A tagged PDF. Too early, the answer is as for report.json."""
    return _report(audit_id, "pdf", caller, service, request)


def _report(audit_id: str, kind: str, caller: Caller, service: Service, request: Request) -> Response:
    try:
        file = results.file(service, caller.project_id, audit_id, kind)
    except NotDone:
        return _no_report(service, caller.project_id, audit_id, request.url.path)
    return files.send(request, service.artifacts, file, download=False)


def _made(format: Format) -> None:
    """A route that makes one format of the stored report when it is asked for."""

    @router.get(
        f"/report.{format.suffix}",
        response_class=Response,
        responses={**_REPORT, 200: {"content": {format.media_type: {}}, "description": format.what}},
        summary=f"The report as {format.suffix}",
        name=f"report-{format.suffix}",
    )
    def export(audit_id: str, caller: Reader, service: ServiceDep, request: Request) -> Response:
        """Made from report.json. Too early, the answer is as for that one."""
        try:
            made = results.exported(service, caller.project_id, audit_id, format)
        except NotDone:
            return _no_report(service, caller.project_id, audit_id, request.url.path)
        return Response(made, media_type=format.media_type)


for _format in MADE.values():
    _made(_format)


@router.get("/report.{format}", include_in_schema=False)
def other_report(audit_id: str, format: str, caller: Reader) -> None:
    raise NotFound(
        f"there are no reports as '{format}'; there are {', '.join(f'report.{name}' for name in (*_STORED, *MADE))}"
    )


@router.get("/curves", summary="Robust accuracy at every eps, per norm")
def curves(audit_id: str, caller: Reader, service: ServiceDep) -> list[resources.Curve]:
    found = results.curves(service, caller.project_id, audit_id)
    return [resources.Curve(norm=norm, points=[_point(row) for row in rows]) for norm, rows in found.items()]


@router.get("/outcomes", response_class=Response, responses=_ROWS, summary="What is known of each example")
def outcomes(
    audit_id: str,
    caller: Reader,
    service: ServiceDep,
    request: Request,
    norm: Norm | None = None,
    status: Annotated[str | None, Query(max_length=16)] = None,
    attack: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most")] = 1000,
    cursor: Cursor = None,
    accept: Accept = "",
) -> Response:
    """By norm and position in the sample; while the audit runs, the outcomes so far. As CSV where the caller accepts
    `text/csv`; the next page is then in the header Link."""
    items, after = results.outcomes(
        service, caller.project_id, audit_id, norm=norm, status=status, attack=attack, cursor=cursor, limit=limit
    )
    if "text/csv" in accept:
        following = None if after is None else request.url.include_query_params(cursor=after)
        return _csv(items, None if following is None else f"{following.path}?{following.query}")
    return Response(to_json({"items": items, "next": after}), media_type="application/json")


@router.get("/examples", summary="Broken examples, the most fragile first")
def examples(
    audit_id: str,
    caller: Reader,
    service: ServiceDep,
    norm: Norm | None = None,
    attack: Annotated[str | None, Query(max_length=200)] = None,
    label: Annotated[int | None, Query(ge=0, le=1 << 62)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> resources.Page[resources.Example]:
    """attack: that found the smallest change; label: the class of the example."""
    found, after = results.examples(
        service, caller.project_id, audit_id, norm=norm, attack=attack, label=label, cursor=cursor, limit=limit
    )
    return resources.Page(items=[_example(audit_id, example) for example in found], next=after)


@router.get(
    "/examples/{norm}/{example}.npy", response_class=Response, responses=_ARRAY, summary="An adversarial example"
)
def example(
    audit_id: str,
    norm: Norm,
    example: Annotated[int, Path(ge=0, le=1 << 62, description="Its number in the dataset")],
    caller: Reader,
    service: ServiceDep,
) -> Response:
    """float32, in the domain and before normalisation: the smallest change that was found."""
    npy = results.adversarial(service, caller.project_id, audit_id, norm, example)
    headers = {"Content-Disposition": f'attachment; filename="{norm}-{example}.npy"'}
    return Response(npy, headers=headers, media_type="application/octet-stream")


@router.get("/artifacts", summary="The audit's files")
def index(audit_id: str, caller: Reader, service: ServiceDep) -> resources.Page[resources.Artifact]:
    rows = results.files(service, caller.project_id, audit_id)
    return resources.Page(items=[_artifact(row) for row in rows])


@router.get("/artifacts/{kind}", response_class=Response, responses=_ARTIFACT, summary="One of the audit's files")
def artifact(
    audit_id: str, kind: Annotated[str, Path(max_length=32)], caller: Reader, service: ServiceDep, request: Request
) -> Response:
    file = results.file(service, caller.project_id, audit_id, kind)
    return files.send(request, service.artifacts, file)


def _no_report(service: Service, project_id: str, audit_id: str, instance: str) -> Response:
    """What there is instead of a report: the audit as it stands, or why it has ended without one."""
    known = audits.show(service, project_id, audit_id)
    audit = shown(known)
    if not known.ended:
        headers = {"Retry-After": _RETRY_SECONDS}
        return Response(audit.model_dump_json(), 202, headers, media_type="application/json")
    why = f"failed: {audit.problem['detail']}" if audit.problem else "was cancelled"
    problem = resources.NoReport(
        type="/problems/no-report",
        title="The audit has no report",
        status=409,
        detail=f"audit {audit_id} {why}",
        instance=instance,
        state=audit.state,
        bounds=audit.bounds,
    )
    return JSONResponse(problem.model_dump(mode="json"), 409, media_type=problems.MEDIA_TYPE)


def _point(row: Point) -> resources.CurvePoint:
    return resources.CurvePoint(
        eps=row.eps,
        value=row.value,
        robust_accuracy=row.robust_accuracy,
        interval=(row.lower, row.upper),
        true_interval=(row.true_lower, row.true_upper),
        certified_accuracy=row.certified_accuracy,
        broken_by=row.broken_by,
        unfinished=row.unfinished,
    )


def _csv(items: list[dict[str, Any]], following: str | None) -> Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, resources.Outcome.model_fields)
    writer.writeheader()
    writer.writerows(items)
    headers = {} if following is None else {"Link": f'<{following}>; rel="next"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


def _example(audit_id: str, example: results.Example) -> resources.Example:
    row = example.outcome
    return resources.Example(
        example=row.example,
        norm=row.norm,
        label=row.label,
        predicted=row.predicted,
        adversarial=example.adversarial,
        distance=row.distance or 0.0,
        attack=row.attack or "",
        confidence=row.confidence,
        array=f"/api/v1/audits/{audit_id}/examples/{row.norm}/{row.example}.npy",
    )


def _artifact(row: Artifact) -> resources.Artifact:
    return resources.Artifact(
        kind=row.kind,
        filename=row.filename,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256,
        url=f"/api/v1/audits/{row.audit_id}/artifacts/{row.kind}",
        created_at=moment(row.created_at),
        removed_at=moment(row.removed_at),
    )
