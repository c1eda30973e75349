"""Models: their versions, how robust each was found, and uploads."""

from pathlib import PurePath
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Request, Response

from auditor import resources
from auditor.api.audits import shown
from auditor.api.pages import page
from auditor.operations import audits, deletion, models, trend
from auditor.options import layout_of
from auditor.report.comparison.schema import MOST
from auditor.spec import build
from auditor.web import arrivals, charts
from auditor.web.pages import go, pages, part, render
from auditor.web.session import Visitor, needs
from auditor.web.words import number

router = pages()
Reader = Annotated[Visitor, needs("models:read")]
Writer = Annotated[Visitor, needs("models:write")]

_PAGE = 50
_AUDITS = 20


@router.get("/models")
def index(request: Request, visitor: Reader, name: str | None = None, cursor: str | None = None) -> Response:
    found = models.list_models(visitor.service, visitor.project_id, name or None, cursor, _PAGE + 1)
    return render(request, visitor, "models.html", page=page(found, _PAGE), name=name or "")


@router.post("/models/upload")
def upload(visitor: Writer) -> Response:
    """The next version of a name; without a name, of the file's."""
    file, service = visitor.file("file"), visitor.service
    new = models.NewVersion.checked(
        visitor.said("name") or PurePath(file.filename or "").stem,
        file.filename,
        True if visitor.said("surrogate") else None,
        _declared(visitor),
    )
    sha256, size = arrivals.kept(service, file, service.settings.max_model_bytes)
    made = models.add(service, visitor.project_id, new, sha256, size)
    return go(f"/models/{part(made.model)}")


def _declared(visitor: Visitor) -> resources.Declared:
    """A field that was left empty says nothing. Raises SpecError."""
    words: dict[str, Any] = {name: visitor.said(name) or None for name in ("input", "output", "label")}
    words |= {"layout": layout_of(visitor.said("layout") or None), "fix": visitor.said("fix").split()}
    words |= {name: bool(visitor.said(name)) for name in ("multilabel", "unbatched")}
    said = visitor.said("threshold")
    return build(resources.Declared, **words, threshold=number(said) if said else None)


@router.get("/models/{model}")
def show(request: Request, visitor: Reader, model: str, cursor: str | None = None) -> Response:
    service, project_id = visitor.service, visitor.project_id
    found = models.show(service, project_id, model)
    versions = page(models.list_versions(service, project_id, found.id, cursor, _PAGE + 1), _PAGE)
    done = audits.page(service, project_id, model=found.name, limit=_AUDITS)
    steps = trend.trend(service, project_id, found.name)
    figure = charts.trend(steps)
    return render(
        request,
        visitor,
        "model.html",
        model=found,
        versions=versions,
        audits=[shown(known) for known in done],
        trend=figure,
        address=charts.address(f"/models/{part(model)}"),
        compared=urlencode([("audit", step.audit_id) for step in steps[-MOST:]]),
        checking=any(version.state == "checking" for version in versions.items),
    )


@router.get("/models/{model}/figures/{file}")
def figure(visitor: Reader, model: str, file: str) -> Response:
    name = models.show(visitor.service, visitor.project_id, model).name
    drawn = charts.trend(trend.trend(visitor.service, visitor.project_id, name))
    return charts.answer([] if drawn is None else [drawn], file)


@router.post("/models/{model}/aliases")
def set_alias(visitor: Writer, model: str) -> Response:
    number = visitor.said("version")
    models.set_alias(
        visitor.service, visitor.project_id, model, visitor.said("alias"), int(number) if number.isdecimal() else 0
    )
    return go(f"/models/{part(model)}")


@router.post("/models/{model}/delete")
def delete(visitor: Writer, model: str) -> Response:
    found = models.show(visitor.service, visitor.project_id, model)
    deletion.delete_model(visitor.service, visitor.project_id, found.id)
    return go("/models")
