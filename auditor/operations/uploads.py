"""Files that come in pieces, so that a broken connection costs one piece and not the file.

A piece is written to the artifact store first and counted afterwards; what `received` says is safe.
"""

from sqlalchemy.orm import Session

from auditor import resources
from auditor.operations import projects
from auditor.operations.blobs import keep
from auditor.operations.errors import Conflict, DigestMismatch, NotFound, TooLarge, WrongOffset
from auditor.operations.names import checked_filename
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.store import tables
from auditor.store.database import now
from auditor.store.ids import new_id
from auditor.store.queries import uploads

_KEPT_SECONDS = 86400.0


def create(service: Service, project_id: str, new: resources.NewUpload) -> resources.Upload:
    """Announce a file. Raises TooLarge or QuotaExceeded."""
    limit = max(service.settings.max_model_bytes, service.settings.max_dataset_bytes)
    if new.size > limit:
        raise TooLarge(f"{new.size} bytes are more than the {limit} that a file may have here")
    with service.database.transaction() as session:
        projects.check_bytes(session, project_id, new.size)
        row = tables.Upload(
            project_id=project_id,
            filename=checked_filename(new.filename),
            size=new.size,
            sha256=new.sha256,
            created_at=now(),
            expires_at=now() + _KEPT_SECONDS,
        )
        uploads.add(session, row)
    return _shown(row)


def show(service: Service, project_id: str, upload_id: str) -> resources.Upload:
    """Raises NotFound."""
    return _shown(_find(service, project_id, upload_id))


def append(service: Service, project_id: str, upload_id: str, position: int, piece: bytes) -> int:
    """Store the next piece and give the offset after it. Raises NotFound, TooLarge or WrongOffset."""
    row = _find(service, project_id, upload_id)
    if position != row.received:
        raise WrongOffset(row.received)
    if position + len(piece) > row.size:
        raise TooLarge(f"{position + len(piece)} bytes are more than the {row.size} that were announced")
    if not piece:
        return position
    key = f"uploads/{upload_id}/{position:020d}-{new_id()}"
    service.artifacts.write(key, piece)
    with service.database.transaction() as session:
        added = uploads.append(session, upload_id, position, len(piece), key)
    if not added:
        service.artifacts.delete([key])
        raise WrongOffset(show(service, project_id, upload_id).received)
    return position + len(piece)


def cancel(service: Service, project_id: str, upload_id: str) -> None:
    """Forget an upload and what came of it. Raises NotFound."""
    with service.database.transaction() as session:
        if not uploads.remove(session, project_id, upload_id):
            raise NotFound("there is no such upload")
    remove_pieces(service, upload_id)


def assemble(service: Service, project_id: str, upload_id: str, limit: int) -> tuple[str, int]:
    """Keep a whole upload as a blob, in constant memory; (sha256, size). The upload stays until `use`.

    Raises NotFound, Conflict when bytes are missing, TooLarge, and DigestMismatch, upon which the upload is gone.
    """
    row = _find(service, project_id, upload_id)
    if row.received < row.size:
        raise Conflict(f"{row.size - row.received} of the upload's {row.size} bytes are still to come")
    if row.size > limit:
        raise TooLarge(f"{row.size} bytes are more than the {limit} that are accepted for this")
    with service.database.reading() as session:
        keys = [piece.key for piece in uploads.pieces(session, upload_id)]
    sha256, size = keep(service, (chunk for key in keys for chunk in service.artifacts.stream(key)))
    if row.sha256 not in (None, sha256):
        cancel(service, project_id, upload_id)
        raise DigestMismatch(f"the upload has the SHA-256 {sha256}, not {row.sha256} as declared; send it again")
    return sha256, size


def use(session: Session, project_id: str, upload_id: str) -> None:
    """The file of an upload has become something else. Raises Conflict when another request was first."""
    if not uploads.remove(session, project_id, upload_id):
        raise Conflict("this upload was used by another request")


def remove_pieces(service: Service, upload_id: str) -> None:
    """Remove the pieces of an upload whose row is gone."""
    service.artifacts.delete([stored.key for stored in service.artifacts.list(f"uploads/{upload_id}")])


def _find(service: Service, project_id: str, upload_id: str) -> tables.Upload:
    with service.database.reading() as session:
        row = uploads.find(session, project_id, upload_id)
    if row is None:
        raise NotFound("there is no such upload, or it has expired")
    return row


def _shown(row: tables.Upload) -> resources.Upload:
    return resources.Upload(
        id=row.id,
        filename=row.filename,
        size=row.size,
        received=row.received,
        sha256=row.sha256,
        expires_at=moment(row.expires_at),
    )
