"""Two audits side by side, example by example."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from auditor.api.audits import shown
from auditor.errors import InputError
from auditor.operations import audits
from auditor.operations.comparison import compare
from auditor.operations.errors import Refused
from auditor.report.legible import legible_text
from auditor.web import charts
from auditor.web.pages import pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("reports:read")]
Id = Annotated[str, Query(max_length=64)]

_OFFERED = 200


@router.get("/compare")
def show(
    request: Request,
    visitor: Reader,
    first: Id = "",
    second: Id = "",
    margin: Annotated[float, Query(ge=0, lt=1)] = 0.02,
) -> Response:
    """A form; with two audits, what the second lost against the first."""
    service, project_id = visitor.service, visitor.project_id
    offered = [shown(known) for known in audits.page(service, project_id, state="done", limit=_OFFERED)]
    values: dict[str, Any] = {"offered": offered, "first": first, "second": second, "margin": margin}
    if not (first and second):
        return render(request, visitor, "compare.html", compared=None, wrong="", **values)
    pair = [shown(audits.show(service, project_id, audit_id)) for audit_id in (first, second)]
    try:
        compared = compare(service, project_id, first, second, margin)
    except (Refused, InputError) as error:
        return render(request, visitor, "compare.html", 422, compared=None, wrong=str(error), **values)
    names = [legible_text(f"{place}: {audit.model}@{audit.version}") for place, audit in zip("12", pair, strict=True)]
    drawn = charts.comparison(compared, names)
    return render(
        request, visitor, "compare.html", compared=compared, wrong="", names=names, pair=pair, drawn=drawn, **values
    )
