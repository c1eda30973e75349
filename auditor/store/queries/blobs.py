"""Rows of bytes in the artifact store."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Blob

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def refer(session: Session, sha256: str, size: int) -> None:
    """A blob is about to be referred to: make its row, or keep the one that is there from being collected."""
    insert = _INSERT[session.get_bind().dialect.name](Blob)
    made = insert.values(sha256=sha256, size=size, created_at=now(), used_at=now())
    session.execute(made.on_conflict_do_update(index_elements=[Blob.sha256], set_={"used_at": now()}))
