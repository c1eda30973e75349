"""Several audits side by side."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from auditor.api import files
from auditor.api.access import ServiceDep, needs
from auditor.operations.access import Caller
from auditor.operations.comparison import compare, compare_two, written
from auditor.operations.service import Service
from auditor.report.comparison.schema import MOST, ComparisonReport
from auditor.resources import Comparison

router = APIRouter(tags=["results"])
Reader = Annotated[Caller, needs("reports:read")]
Ids = Annotated[list[str], Query(min_length=2, max_length=MOST, description="Audits, the one to compare with first")]
_TOLERATED = "The net loss that is tolerated"
Margin = Annotated[float | None, Query(ge=0, lt=1, description=_TOLERATED)]
MarginOfTwo = Annotated[float, Query(ge=0, lt=1, description=_TOLERATED)]

_KINDS = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


@router.get("/compare", summary="Compare up to five audits of the same examples with the first of them")
def compare_many(audits: Ids, caller: Reader, service: ServiceDep, margin: Margin = None) -> ComparisonReport:
    """What each audit lost against the first, example by example, and what cannot be compared and why. With a margin every
    point is judged like a gate, all together under Holm's correction. `audits` is repeated: `?audits=…&audits=…`."""
    return compare(service, caller.project_id, audits, margin)


def _paper(kind: str) -> None:
    """The routes that give comparisons as files for people."""
    content: dict[int | str, dict[str, Any]] = {
        200: {"content": {_KINDS[kind]: {}}, "description": "The comparison for people"}
    }

    @router.get(
        f"/compare.{kind}",
        response_class=Response,
        responses=content,
        summary=f"The same as {kind.upper()}",
        name=f"compare-{kind}",
    )
    def many(audits: Ids, caller: Reader, service: ServiceDep, margin: Margin = None) -> Response:
        """What `auditor compare` writes."""
        return paper(service, caller.project_id, audits, margin, kind)

    @router.get(
        f"/audits/{{audit_id}}/compare/{{other}}.{kind}",
        response_class=Response,
        responses=content,
        summary=f"Compare two audits, as {kind.upper()}",
        name=f"compare-two-{kind}",
    )
    def two(audit_id: str, other: str, caller: Reader, service: ServiceDep, margin: MarginOfTwo = 0.02) -> Response:
        """What `auditor compare` writes."""
        return paper(service, caller.project_id, [audit_id, other], margin, kind)


for _kind in _KINDS:
    _paper(_kind)


@router.get("/audits/{audit_id}/compare/{other}", summary="Compare two audits of the same examples")
def compare_with(
    audit_id: str, other: str, caller: Reader, service: ServiceDep, margin: MarginOfTwo = 0.02
) -> Comparison:
    """What the other audit lost against this one, example by example. Both must have the same specification."""
    return compare_two(service, caller.project_id, audit_id, other, margin)


def paper(service: Service, project_id: str, audits: Sequence[str], margin: float | None, kind: str) -> Response:
    """A comparison as a file for people; kind: html or pdf."""
    data = written(service, project_id, audits, margin, kind)
    headers = {"Content-Security-Policy": files.POLICY} if kind == "html" else {}
    return Response(data, headers=headers, media_type=_KINDS[kind])
