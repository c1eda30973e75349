"""INSERT that says what becomes of a row that is there already, on either database."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from auditor.store.tables import Table

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert(session: Session, table: type[Table]) -> Any:
    """An insert with `on_conflict_do_update` and `on_conflict_do_nothing`, which the two dialects spell alike."""
    return _INSERT[session.get_bind().dialect.name](table)
