"""Audits side by side, example by example."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from auditor.api.audits import shown
from auditor.api.comparison import paper
from auditor.errors import InputError
from auditor.operations import audits
from auditor.operations.comparison import compare
from auditor.operations.errors import Refused
from auditor.report.blocks import figures_of
from auditor.report.comparison.compose import compose
from auditor.report.comparison.schema import MOST
from auditor.web import charts
from auditor.web.pages import pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("reports:read")]
Ids = Annotated[list[Annotated[str, Query(max_length=64)]], Query(max_length=MOST)]
Margin = Annotated[float, Query(ge=0, lt=1)]

_OFFERED = 200


@router.get("/compare")
def show(
    request: Request,
    visitor: Reader,
    audit: Ids = [],  # noqa: B006 - FastAPI copies it
    margin: Margin = 0.02,
) -> Response:
    """A form; with two or more audits, what each lost against the first."""
    service, project_id = visitor.service, visitor.project_id
    offered = [shown(known) for known in audits.page(service, project_id, state="done", limit=_OFFERED)]
    chosen = [audit_id for audit_id in audit if audit_id]
    values: dict[str, Any] = {"offered": offered, "chosen": chosen, "most": MOST, "margin": margin}
    if len(chosen) < 2:
        return render(request, visitor, "compare.html", document=None, wrong="", **values)
    try:
        document = compose(compare(service, project_id, chosen, margin))
    except (Refused, InputError) as error:
        status = error.status if isinstance(error, Refused) else 422
        return render(request, visitor, "compare.html", status, document=None, wrong=str(error), **values)
    address = charts.address("/compare", request.url.query)
    values |= {"document": document, "address": address, "asked": request.url.query}
    return render(request, visitor, "compare.html", wrong="", **values)


@router.get("/compare.{kind}")
def file(visitor: Reader, kind: Literal["html", "pdf"], audit: Ids, margin: Margin = 0.02) -> Response:
    """The same to keep."""
    return paper(visitor.service, visitor.project_id, list(filter(None, audit)), margin, kind)


@router.get("/compare/figures/{file}")
def figure(visitor: Reader, file: str, audit: Ids, margin: Margin = 0.02) -> Response:
    document = compose(compare(visitor.service, visitor.project_id, list(filter(None, audit)), margin))
    return charts.answer(figures_of(document), file)
