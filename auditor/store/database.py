"""One database, SQLite or PostgreSQL: transactions, and its clock.

SQLite: write-ahead log, foreign keys on, and writers begin IMMEDIATE, so that a transaction that reads before it
writes waits for the lock instead of failing half-way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from auditor.errors import SpecError

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=15000",
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


class now(FunctionElement):  # noqa: N801 - reads as SQL
    """Seconds since 1970 by the database's clock, so that leases do not depend on the workers' clocks."""

    type = Double()
    inherit_cache = True
    name = "now"


@compiles(now, "postgresql")
def _(element: now, compiler: Any, **options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now, "sqlite")
def _(element: now, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Database:
    """Where the service's rows live. url: sqlite:///PATH or postgresql://USER@HOST/NAME. Raises SpecError for others.

    One per process: it must not cross a fork.
    """

    def __init__(self, url: str, *, pool: int = 5) -> None:
        parsed = _accepted(url)
        self.dialect = parsed.get_backend_name()
        self.url = parsed
        if self.dialect == "sqlite":
            Path(parsed.database or "").absolute().parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(parsed, connect_args={"timeout": 15, "check_same_thread": False})
            event.listen(self.engine, "connect", _configure)
            event.listen(self.engine, "begin", _begin)
        else:
            self.engine = create_engine(parsed, pool_pre_ping=True, pool_size=pool, max_overflow=2 * pool)
        self._writing = self.engine.execution_options(writing=True)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits when the block ends well and takes everything back when it does not."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing and, on SQLite, never waits for a writer."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def _accepted(url: str) -> URL:
    try:
        parsed = make_url(url)
    except Exception as error:
        raise SpecError(
            f"the database URL is not understood ({error}); write sqlite:///PATH or postgresql://…"
        ) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SpecError(
            f"databases of the kind {parsed.get_backend_name()} are not supported; use SQLite or PostgreSQL"
        )
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if not parsed.database or parsed.database == ":memory:":
        raise SpecError("an SQLite database needs a file: sqlite:///PATH")
    return parsed


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says so, not where the driver thinks
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
