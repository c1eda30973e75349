"""Readiness says what a load balancer must know: down, degraded, or ok."""

import time

import pytest
from sqlalchemy import event

from auditor.operations.health import ready, worker_lives
from auditor.operations.service import Service
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.artifacts import Artifacts
from auditor.store.database import Database
from auditor.store.tables import Worker
from tests.operations.rows import keys


@pytest.fixture
def migrated(database_url, tmp_path):
    """A service as `auditor db upgrade` leaves it."""
    database = Database(database_url)
    migrate.upgrade(database)
    settings = Settings(data=tmp_path, database=database_url)
    yield Service(database, Artifacts.open(settings.artifacts_url), settings, lambda: None)
    database.close()


def see_worker(service, *, age=0.0, **columns):
    at = time.time() - age
    values = {"owner": "w1", "host": "h", "pid": 1, "device": "cpu", "kinds": [], "started_at": at, "seen_at": at}
    with service.database.transaction() as session:
        session.add(Worker(**values | columns))


def test_a_service_with_a_worker_is_ok(migrated):
    see_worker(migrated)
    found = ready(migrated)
    assert (found.state, set(found.parts.values())) == ("ok", {"ok"})
    assert keys(migrated) == set()


@pytest.mark.parametrize("age", [None, 61])
def test_without_a_worker_in_the_last_minute_it_is_degraded(migrated, age):
    if age is not None:
        see_worker(migrated, age=age)
    found = ready(migrated)
    assert found.state == "degraded"
    assert "60 seconds" in found.parts["workers"]


def test_a_database_of_another_revision_is_down(migrated):
    migrate.downgrade(migrated.database, "0001")
    found = ready(migrated)
    assert found.state == "down"
    assert "auditor db upgrade" in found.parts["database"]


def test_a_database_without_tables_is_down(service):
    assert ready(service).state == "down"


def test_an_artifact_store_that_cannot_be_written_is_down(migrated, monkeypatch):
    def fail(key, data):
        raise PermissionError("/secret/path: permission denied")

    monkeypatch.setattr(migrated.artifacts, "write", fail)
    found = ready(migrated)
    assert found.state == "down"
    assert "secret" not in found.parts["artifacts"]


def test_a_database_that_is_gone_is_down_and_its_address_is_not_told(tmp_path, migrated):
    database = Database("postgresql://someone:S3cr3t@127.0.0.1:1/none")
    found = ready(Service(database, migrated.artifacts, migrated.settings, lambda: None))
    assert found.state == "down"
    assert "S3cr3t" not in str(found)
    assert "127.0.0.1" not in str(found)


def test_a_read_only_database_is_down(migrated, database_url):
    command = {"sqlite": "PRAGMA query_only=ON", "postgresql": "SET default_transaction_read_only = on"}
    database = Database(database_url)

    @event.listens_for(database.engine, "connect")
    def forbid(connection, _):
        connection.execute(command[database.dialect])
        connection.commit()

    found = ready(Service(database, migrated.artifacts, migrated.settings, lambda: None))
    assert found.parts["database"] == "does not answer, or cannot be written"
    database.close()


def test_a_worker_is_looked_for_on_its_own_host(service):
    see_worker(service, host="here")
    see_worker(service, owner="w2", host="there", age=100)
    assert worker_lives(service, "here")
    assert not worker_lives(service, "there")
    assert not worker_lives(service, "elsewhere")
