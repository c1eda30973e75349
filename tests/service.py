"""What tests of the service share: a fresh database of either kind, a service on it, and a project.

PostgreSQL is asked for at AUDITOR_TEST_POSTGRES (default `postgresql:///test`). Tests work in schemas of their own,
dropped in the end together with the sessions that still use them.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from auditor.operations import keys, projects
from auditor.operations.service import Service
from auditor.settings import Settings
from auditor.store.artifacts import Artifacts
from auditor.store.database import Database, now
from auditor.store.tables import Project, Table

POSTGRES = os.environ.get("AUDITOR_TEST_POSTGRES", "postgresql:///test")


@cache
def postgres_engine():
    return create_engine(
        make_url(POSTGRES).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5},
    )


@cache
def why_no_postgres() -> str | None:
    try:
        postgres_engine().connect().close()
    except OperationalError as error:
        return f"no PostgreSQL at {POSTGRES} (set AUDITOR_TEST_POSTGRES): {str(error).splitlines()[0]}"
    return None


@contextmanager
def postgres_schema() -> Iterator[str]:
    """The URL of an empty schema of its own. Skips the test where PostgreSQL is not reachable."""
    if reason := why_no_postgres():
        pytest.skip(reason)
    name = f"test_{uuid.uuid4().hex}"
    url = make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={name}", "application_name": name})
    with postgres_engine().connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
        try:
            yield url.render_as_string(hide_password=False)
        finally:
            end_sessions(name)
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))


def end_sessions(name: str) -> None:
    """End whatever still works in a schema of that name."""
    chosen = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
    with postgres_engine().connect() as connection:
        connection.execute(text(chosen), {"name": name})


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without tables. kind: sqlite (a file in the folder) or postgresql."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'auditor.sqlite3'}"
    else:
        with postgres_schema() as url:
            yield url


@contextmanager
def with_tables(url: str) -> Iterator[Database]:
    """The database at a URL, with all tables made."""
    database = Database(url, pool=10)
    try:
        Table.metadata.create_all(database.engine)
        yield database
    finally:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request):
    return request.param


@pytest.fixture
def database_url(database_kind, tmp_path):
    """The URL of a database without tables, for tests that start processes or migrate."""
    with empty_database(database_kind, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables():
    """The URL of a schema with tables, which tests use one after another: making it takes longer than most of them."""
    with postgres_schema() as url, with_tables(url):
        yield url


@pytest.fixture
def database(database_kind, request, tmp_path):
    """A database with empty tables; the test runs once per kind."""
    if database_kind == "sqlite":
        with with_tables(f"sqlite:///{tmp_path / 'auditor.sqlite3'}") as database:
            yield database
        return
    database = Database(request.getfixturevalue("postgres_tables"), pool=10)
    end_sessions(str(database.url.query["application_name"]))  # whatever a test has left behind
    with database.transaction() as session:
        for table in reversed(Table.metadata.sorted_tables):
            session.execute(table.delete())
    yield database
    database.close()


@pytest.fixture
def service(database, tmp_path):
    """A service on the database, with a folder of artifacts, and a doorbell that rings nobody."""
    settings = Settings(data=tmp_path, database=database.url.render_as_string(hide_password=False))
    return Service(database, Artifacts.open(settings.artifacts_url), settings, lambda: None)


@pytest.fixture
def project(database):
    """A project without quotas."""
    with database.transaction() as session:
        row = Project(name="tests", created_at=now(), retention={})
        session.add(row)
        session.flush()
        session.refresh(row)
    return row


@pytest.fixture
def make_key(service, project):
    """A key's text. project_name: another project, made if need be."""

    def make(role="admin", project_name=None, **options):
        with service.database.transaction() as session:
            owner = project.id if project_name is None else projects.ensure(session, project_name).id
            return keys.create_key(session, owner, "a test's", role, **options)[1]

    return make
