"""Datasets: what they hold, and uploads."""

from pathlib import PurePath
from typing import Annotated

from fastapi import Request, Response

from auditor import resources
from auditor.api.pages import page
from auditor.operations import datasets, deletion, originals
from auditor.operations.errors import NotFound
from auditor.report.exhibits import is_image, pixels, png
from auditor.web import arrivals
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("datasets:read")]
Writer = Annotated[Visitor, needs("datasets:write")]

_PAGE = 50
_THUMBNAILS = range(10)


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
    return render(request, visitor, "dataset.html", dataset=found, thumbnails=_THUMBNAILS if _drawn(found) else ())


@router.get("/datasets/{dataset}/examples/{example}.png")
def thumbnail(visitor: Reader, dataset: str, example: int) -> Response:
    """An example of an `.npz` of images as its file holds it, from its darkest to its brightest value; of a zip of images
    the image's own file, which the browser decodes, or a PNG where it could not."""
    headers = {"Cache-Control": "private, max-age=3600"}
    if _format(datasets.show(visitor.service, visitor.project_id, dataset)) == "zip":
        content, kind = originals.image_file(visitor.service, visitor.project_id, dataset, example)
        return Response(content, media_type=kind, headers=headers)
    stored = originals.stored(visitor.service, visitor.project_id, dataset, example).astype(float)
    image = stored[..., None] if stored.ndim == 2 else stored
    if not is_image(image.shape):
        raise NotFound("examples of this dataset are no images")
    ends = (0.0, 255.0) if stored.max() > 1 else (0.0, 1.0)
    shares = pixels(image, "NCHW" if image.shape[0] in (1, 3) else "NHWC", ends)
    return Response(png(shares), media_type="image/png", headers=headers)


def _drawn(dataset: resources.Dataset) -> bool:
    facts = dataset.facts or {}
    shape = tuple(facts.get("shape") or ())
    image = is_image((*shape, 1) if len(shape) == 2 else shape)
    return _format(dataset) == "zip" or (_format(dataset) == "npz" and image)


def _format(dataset: resources.Dataset) -> str:
    return str((dataset.facts or {}).get("format"))


@router.post("/datasets/{dataset}/delete")
def delete(visitor: Writer, dataset: str) -> Response:
    found = datasets.show(visitor.service, visitor.project_id, dataset)
    deletion.delete_dataset(visitor.service, visitor.project_id, found.id)
    return go("/datasets")
