"""Files that come in forms."""

from collections.abc import Iterator

from starlette.datastructures import UploadFile

from auditor.operations.blobs import keep
from auditor.operations.errors import TooLarge
from auditor.operations.service import Service

_PIECE = 4 << 20


def kept(service: Service, file: UploadFile, limit: int) -> tuple[str, int]:
    """Keep a file as a blob; (sha256, size). Raises TooLarge, and Unacceptable for an empty one."""
    if (file.size or 0) > limit:
        raise TooLarge(f"the file is larger than the {limit} bytes that are accepted for this")
    return keep(service, _pieces(file))


def _pieces(file: UploadFile) -> Iterator[bytes]:
    while piece := file.file.read(_PIECE):
        yield piece
