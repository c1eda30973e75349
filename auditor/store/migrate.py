"""The revisions of the tables: which one a database has, and the way to another.

A migration is one transaction on both databases: it happens whole or not at all. Before it, an SQLite file that holds
tables is copied to NAME.before-REVISION; on PostgreSQL an advisory lock lets one process at a time migrate.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from auditor.errors import AuditorError
from auditor.store.database import Database

_LOCK = 7_020_311_926  # any number that nothing else on the server locks


class WrongRevision(AuditorError):
    """The database's tables are not those of this version of auditor."""


@cache
def head() -> str:
    """The revision that this version of auditor works with; found among the scripts once in a process."""
    revision = _scripts().get_current_head()
    assert revision is not None
    return revision


def current(database: Database) -> str | None:
    """The database's revision; None when it has no tables."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check(database: Database) -> None:
    """Raises WrongRevision when the database is not at the head."""
    found = current(database)
    if found != head():
        _known(found)
        state = "has no tables" if found is None else f"is at revision {found}"
        raise WrongRevision(f"the database {state}, and {head()} is needed; run 'auditor db upgrade'")


def upgrade(database: Database) -> Path | None:
    """Bring the database to the head; the copy that was made of an SQLite file, if one was.

    Raises WrongRevision for a database of a newer auditor.
    """
    return _migrate(database, command.upgrade, head())


def downgrade(database: Database, revision: str) -> Path | None:
    """Bring the database back to an older revision, or to `base`, which removes all tables; see upgrade.

    Raises WrongRevision for a revision that does not exist.
    """
    if revision != "base":
        _known(revision)
    return _migrate(database, command.downgrade, revision)


def _migrate(database: Database, step: Callable[[Config, str], None], revision: str) -> Path | None:
    found = current(database)
    _known(found)
    if found == revision:
        return None
    copy = _copy(database, revision) if database.dialect == "sqlite" and found is not None else None
    with _alone(database) as connection:
        config = _config()
        config.attributes["connection"] = connection
        step(config, revision)
    return copy


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A transaction in which nobody else migrates."""
    with database.engine.connect().execution_options(writing=True) as connection:
        if database.dialect == "sqlite":
            with _without_foreign_keys(connection), connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if broken:
                    raise WrongRevision(
                        f"the migration would leave references to nothing: {broken[:3]}; it was undone"
                    )
        else:
            with connection.begin():
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                yield connection


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """On SQLite a table is altered by copying it, and dropping the old one would delete what refers to it."""
    pragma = connection.connection.driver_connection
    assert pragma is not None
    pragma.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        pragma.execute("PRAGMA foreign_keys=ON")


def _copy(database: Database, revision: str) -> Path:
    """Copy an SQLite file, as it was at one moment, whoever writes to it."""
    source = Path(database.url.database or "")
    target = source.with_name(f"{source.name}.before-{revision}")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("VACUUM INTO ?", (str(part),))
    shutil.copymode(source, part)
    part.replace(target)
    return target


def _known(revision: str | None) -> None:
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise WrongRevision(
            f"revision {revision} is not known to this version of auditor, which works with {head()}; install the "
            "version that made it"
        )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "auditor.store:migrations")
    return config
