"""Rows of bytes in the artifact store."""

from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries.inserting import insert
from auditor.store.tables import Blob


def refer(session: Session, sha256: str, size: int) -> None:
    """A blob is about to be referred to: make its row, or keep the one that is there from being collected."""
    made = insert(session, Blob).values(sha256=sha256, size=size, created_at=now(), used_at=now())
    session.execute(made.on_conflict_do_update(index_elements=[Blob.sha256], set_={"used_at": now()}))
