"""Datasets: what they hold, and uploads."""

from pathlib import PurePath
from typing import Annotated

from fastapi import Request, Response

from auditor.api.pages import page
from auditor.operations import datasets, deletion
from auditor.web import arrivals
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("datasets:read")]
Writer = Annotated[Visitor, needs("datasets:write")]

_PAGE = 50


@router.get("/datasets")
def index(request: Request, visitor: Reader, name: str | None = None, cursor: str | None = None) -> Response:
    found = datasets.list_datasets(visitor.service, visitor.project_id, name or None, cursor, _PAGE + 1)
    return render(request, visitor, "datasets.html", page=page(found, _PAGE), name=name or "")


@router.post("/datasets/upload")
def upload(visitor: Writer) -> Response:
    """A dataset under a name; without one, under the file's."""
    file, service = visitor.file("file"), visitor.service
    given = visitor.said("name") or PurePath(file.filename or "").stem
    name, filename = datasets.checked(given, file.filename or "")
    sha256, size = arrivals.kept(service, file, service.settings.max_dataset_bytes)
    made = datasets.add(service, visitor.project_id, name, filename, sha256, size)
    return go(f"/datasets/{made.id}")


@router.get("/datasets/{dataset}")
def show(request: Request, visitor: Reader, dataset: str) -> Response:
    found = datasets.show(visitor.service, visitor.project_id, dataset)
    return render(request, visitor, "dataset.html", dataset=found)


@router.post("/datasets/{dataset}/delete")
def delete(visitor: Writer, dataset: str) -> Response:
    found = datasets.show(visitor.service, visitor.project_id, dataset)
    deletion.delete_dataset(visitor.service, visitor.project_id, found.id)
    return go("/datasets")
