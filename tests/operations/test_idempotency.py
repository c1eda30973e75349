"""Requests that are sent again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from auditor.operations import idempotency, projects
from auditor.operations.errors import Conflict, Unacceptable
from auditor.store.database import now
from auditor.store.tables import Audit, Blob, Dataset, Idempotency, Model, Version

A, B = "a" * 64, "b" * 64


@pytest.fixture
def audit(database, project):
    with database.transaction() as session:
        session.add(Blob(sha256=A, size=1, created_at=now(), used_at=now()))
        stored = {"sha256": A, "size": 1, "filename": "f", "state": "ready", "created_at": now()}
        model, dataset = (
            Model(project_id=project.id, name="m", created_at=now()),
            Dataset(project_id=project.id, name="d", **stored),
        )
        session.add_all([model, dataset])
        session.flush()
        version = Version(model_id=model.id, number=1, **stored)
        session.add(version)
        session.flush()
        about = {"project_id": project.id, "version_id": version.id, "dataset_id": dataset.id}
        row = Audit(**about, words={}, state="queued", created_at=now())
        session.add(row)
    return row.id


def begin(database, project, key="k", request=A):
    with database.transaction() as session:
        return idempotency.begin(session, project.id, key, request)


def test_the_answer_to_the_first_is_the_answer_to_the_next(database, project, audit):
    assert begin(database, project) is None
    with database.transaction() as session:
        idempotency.end(session, project.id, "k", audit, 201)
    again = begin(database, project)
    assert (again.audit_id, again.status) == (audit, 201)
    assert begin(database, project, key="another") is None


def test_the_second_waits_for_the_first(database, project):
    begin(database, project)
    with pytest.raises(Conflict):
        begin(database, project)


def test_one_key_is_for_one_request(database, project):
    begin(database, project)
    with pytest.raises(Unacceptable):
        begin(database, project, request=B)


def test_what_failed_is_not_remembered(database, project):
    def begin_and_fail():
        with database.transaction() as session:
            idempotency.begin(session, project.id, "k", A)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        begin_and_fail()
    assert begin(database, project) is None


@pytest.mark.parametrize(
    ("age", "answered", "forgotten"),
    [(59, False, False), (61, False, True), (86000, True, False), (86500, True, True)],
)
def test_a_key_is_forgotten(database, project, audit, age, answered, forgotten):
    begin(database, project)
    with database.transaction() as session:
        if answered:
            idempotency.end(session, project.id, "k", audit, 201)
        session.execute(update(Idempotency).values(created_at=now() - age))
    if forgotten:
        assert begin(database, project, request=B) is None
    else:
        with pytest.raises(Unacceptable):
            begin(database, project, request=B)


@pytest.mark.parametrize("database_kind", ["postgresql"])  # SQLite has one writer at a time
def test_two_first_requests_of_a_project_do_not_wait_for_each_other(database, project):
    both = threading.Barrier(2, timeout=30)

    def ask(key):
        with database.transaction() as session:
            idempotency.begin(session, project.id, key, A)
            both.wait()
            projects.check_audits(session, project.id)

    with ThreadPoolExecutor(2) as threads:
        for asked in [threads.submit(ask, key) for key in ("one", "other")]:
            asked.result()
