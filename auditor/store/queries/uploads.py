"""Files on their way in."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Piece, Upload


def add(session: Session, upload: Upload) -> None:
    session.add(upload)
    session.flush()
    session.refresh(upload)


def find(session: Session, project_id: str, upload_id: str) -> Upload | None:
    """The upload, unless it has expired."""
    own = Upload.project_id == project_id, Upload.id == upload_id, Upload.expires_at > now()
    return session.scalar(select(Upload).where(*own))


def pieces(session: Session, upload_id: str) -> Sequence[Piece]:
    """In the order of the file."""
    return session.scalars(select(Piece).where(Piece.upload_id == upload_id).order_by(Piece.position)).all()


def append(session: Session, upload_id: str, position: int, size: int, key: str) -> bool:
    """Add a piece; False when the upload does not stand at `position`."""
    here = Upload.id == upload_id, Upload.received == position
    moved = update(Upload).where(*here).values(received=position + size).returning(Upload.id)
    if session.execute(moved).first() is None:
        return False
    session.add(Piece(upload_id=upload_id, position=position, size=size, key=key))
    return True


def remove(session: Session, project_id: str, upload_id: str) -> bool:
    """Whether it was there."""
    own = Upload.project_id == project_id, Upload.id == upload_id
    return session.execute(delete(Upload).where(*own).returning(Upload.id)).first() is not None
