"""Examples before any change, for people to look at: read one by one, and never decoded in this process."""

import io
from pathlib import PurePosixPath

import numpy as np

from auditor.data.arrays import stored_row
from auditor.data.decoding import apart
from auditor.data.folders import list_images
from auditor.data.members import members_of_zip
from auditor.data.pictures import Picture
from auditor.errors import DatasetError
from auditor.operations import datasets, results
from auditor.operations.adversarial import Stored, directory
from auditor.operations.errors import NotFound
from auditor.operations.service import Service
from auditor.report.exhibits import png
from auditor.store.artifacts import blob_key
from auditor.store.tables import Dataset

_BLOCK = 1 << 16
_LARGEST = 8 << 20  # bytes of an image file that is handed on
_SIDE = 256  # pixels, at most, of an image that is drawn anew
_BROWSERS_READ = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
}


def stored(service: Service, project_id: str, dataset: str, example: int) -> np.ndarray:
    """An example of an `.npz` as its file holds it. Raises NotFound, also where it cannot be read by itself."""
    row = _resolved(service, project_id, dataset)
    try:
        return stored_row(_opened(service, row), row.filename, example)
    except DatasetError as error:
        raise NotFound(str(error)) from None


def image_file(service: Service, project_id: str, dataset: str, example: int) -> tuple[bytes, str]:
    """The file of an example in a zip of images and its media type: as it was uploaded, or as a PNG where browsers do not read
    it. Raises NotFound, also for what is no image."""
    row = _resolved(service, project_id, dataset)
    try:
        members = members_of_zip(_opened(service, row), row.filename)
        images = list_images(members, row.filename, None, None).images
        content = members.read(images[example]) if example < len(images) else b""
        if not 0 < len(content) <= _LARGEST:
            raise NotFound(f"{row.filename} holds no example {example} that can be shown")
        kind = _BROWSERS_READ.get(PurePosixPath(images[example]).suffix.lower())
        return (content, kind) if kind else (_redrawn(content, images[example]), "image/png")
    except DatasetError as error:
        raise NotFound(str(error)) from None


def _redrawn(content: bytes, name: str) -> bytes:
    """An image as a PNG, decoded and made smaller by a process that is limited to this. Raises DatasetError."""
    decoder = apart()  # of this thread alone, with which its process would end
    width, height = decoder.size(content, name)
    share = min(1.0, _SIDE / max(width, height))
    size = max(1, round(height * share)), max(1, round(width * share))
    picture = Picture(3, *size, grayscale=False, resize=size, crop=None, interpolation="bilinear")
    return png(decoder.pixels(content, name, picture) / 255)


def original(service: Service, project_id: str, audit_id: str, norm: str, example: int) -> np.ndarray | None:
    """A broken example before its change, float32 of the model's shape, in the domain: as the audit kept it, whatever file
    it came from. None of an audit from before they were kept. Raises NotFound, NotDone, and Gone."""
    file = results.file(service, project_id, audit_id, "adversarial")
    try:
        return directory(service.artifacts, str(file.sha256), file.size).x(service.artifacts, norm, example)
    except KeyError:
        raise NotFound(f"audit {audit_id} has no adversarial example of example {example} in {norm}") from None


def _resolved(service: Service, project_id: str, dataset: str) -> Dataset:
    with service.database.reading() as session:
        return datasets.resolve(session, project_id, dataset)


def _opened(service: Service, row: Dataset) -> io.BufferedReader:
    return io.BufferedReader(Stored(service.artifacts, blob_key(row.sha256), row.size), _BLOCK)
