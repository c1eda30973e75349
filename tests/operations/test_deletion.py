"""Deletion is real: no row and no byte of it is left, and nothing of anybody else's is touched."""

import pytest

from auditor.operations import blobs as operations
from auditor.operations import datasets, deletion
from auditor.operations.errors import Conflict, NotFound
from auditor.store.artifacts import Incoming
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.tables import Audit, Model, Project, Surrogate, Version
from tests.operations.rows import audited, count, is_kept, item, keys, rows_left


@pytest.fixture
def stranger(database):
    """Another project."""
    with database.transaction() as session:
        row = Project(name="strangers", created_at=now(), retention={})
        session.add(row)
    return row


def test_a_deleted_audit_leaves_nothing_but_its_model_and_data(service, project):
    made = audited(service, project)
    deletion.delete_audit(service, project.id, made.audit)
    assert rows_left(service) == {"model": 1, "version": 1, "dataset": 1, "blob": 2}
    assert keys(service, "work") == set()
    assert {name for name, sha256 in made.files.items() if is_kept(service, sha256)} == {"m", "d"}


@pytest.mark.parametrize("what", ["model", "version"])
def test_with_a_model_goes_everything_derived_from_it(service, project, what):
    made = audited(service, project)
    getattr(deletion, f"delete_{what}")(service, project.id, getattr(made, what))
    left = {"dataset": 1, "blob": 1} | ({"model": 1} if what == "version" else {})
    assert rows_left(service) == left
    assert [sha256 for sha256 in made.files.values() if is_kept(service, sha256)] == [made.files["d"]]


@pytest.mark.parametrize("what", ["model", "version"])
@pytest.mark.parametrize("state", ["done", "running"])
def test_a_model_that_stood_in_for_another_is_as_one_that_was_audited(service, project, what, state):
    made, other = audited(service, project, state=state), audited(service, project, name="other", salt=b"2")
    with service.database.transaction() as session:
        session.add(Surrogate(audit_id=made.audit, position=0, version_id=other.version))
    delete = getattr(deletion, f"delete_{what}")
    if state == "running":
        with pytest.raises(Conflict, match="running"):
            delete(service, project.id, getattr(other, what))
        assert count(service, Audit) == count(service, Version) == 2
        return
    delete(service, project.id, getattr(other, what))
    assert count(service, Audit) == count(service, Surrogate) == 0
    assert [name for name, sha256 in made.files.items() if is_kept(service, sha256)] == ["m", "d"]
    assert [name for name, sha256 in other.files.items() if is_kept(service, sha256)] == ["d"]


def test_an_audit_goes_and_its_surrogate_stays(service, project):
    made, other = audited(service, project), audited(service, project, name="other", salt=b"2")
    with service.database.transaction() as session:
        session.add(Surrogate(audit_id=made.audit, position=0, version_id=other.version))
    deletion.delete_model(service, project.id, made.model)
    assert count(service, Surrogate) == 0
    assert is_kept(service, other.files["m"])


def test_with_a_dataset_goes_everything_derived_from_it(service, project):
    made = audited(service, project)
    deletion.delete_dataset(service, project.id, made.dataset)
    assert rows_left(service) == {"model": 1, "version": 1, "blob": 1}
    assert is_kept(service, made.files["m"])


def test_bytes_that_another_project_holds_too_stay(service, project, stranger):
    made, other = audited(service, project), audited(service, stranger)
    assert made.files == other.files
    deletion.delete_model(service, project.id, made.model)
    deletion.delete_dataset(service, project.id, made.dataset)
    assert all(is_kept(service, sha256) for sha256 in other.files.values())
    assert count(service, Audit) == 1
    deletion.delete_model(service, stranger.id, other.model)
    deletion.delete_dataset(service, stranger.id, other.dataset)
    assert rows_left(service) == {}
    assert keys(service) == set()


def test_a_blob_that_somebody_is_about_to_refer_to_stays(service, project):
    made = audited(service, project, at=1_000_000.0)
    with service.database.transaction() as session:
        blobs.refer(session, made.files["m"], 5)
    deletion.delete_model(service, project.id, made.model)
    assert is_kept(service, made.files["m"])


def sent(service):
    """The digest and size of bytes that have come."""
    return operations.keep(service, [b"the same", b" bytes"])


def test_bytes_that_come_again_while_they_are_deleted_stay(service, project, monkeypatch):
    first = datasets.add(service, project.id, "first", "d.npz", *sent(service))
    move = Incoming.move

    def overtaken(incoming):
        move(incoming)
        deletion.delete_dataset(service, project.id, first.id)

    monkeypatch.setattr(Incoming, "move", overtaken)
    second = datasets.add(service, project.id, "second", "d.npz", *sent(service))
    assert is_kept(service, second.sha256)


def test_bytes_that_have_come_again_stay_when_the_first_are_deleted_soon(service, project):
    first = datasets.add(service, project.id, "first", "d.npz", *sent(service))
    again = sent(service)
    deletion.delete_dataset(service, project.id, first.id)
    second = datasets.add(service, project.id, "second", "d.npz", *again)
    assert is_kept(service, second.sha256)


def test_other_projects_find_nothing_to_delete(service, project, stranger):
    made = audited(service, project)
    for what in ("audit", "version", "model", "dataset"):
        with pytest.raises(NotFound):
            getattr(deletion, f"delete_{what}")(service, stranger.id, getattr(made, what))
    assert count(service, Audit) == count(service, Version) == count(service, Model) == 1


@pytest.mark.parametrize("what", ["audit", "version", "model", "dataset"])
@pytest.mark.parametrize("state", ["settling", "queued", "running", "cancelling"])
def test_an_audit_that_is_not_finished_is_not_deleted(service, project, what, state):
    made = audited(service, project, state=state)
    with pytest.raises(Conflict, match=state):
        getattr(deletion, f"delete_{what}")(service, project.id, getattr(made, what))
    assert count(service, Audit) == 1
    assert all(is_kept(service, sha256) for sha256 in made.files.values())


@pytest.mark.parametrize("what", ["audit", "version", "model", "dataset"])
def test_what_a_worker_is_at_is_not_deleted(service, project, what):
    made = audited(service, project, state="cancelled")
    item(service, project, made, state="running")
    with pytest.raises(Conflict, match="worker"):
        getattr(deletion, f"delete_{what}")(service, project.id, getattr(made, what))


@pytest.mark.parametrize(("what", "column"), [("version", "version_id"), ("dataset", "dataset_id")])
def test_what_is_being_checked_is_not_deleted_and_what_waits_for_its_check_is(service, project, what, column):
    made = audited(service, project)
    about = getattr(made, what)
    check = item(service, project, made, kind="check", name="check", state="running", **{column: about})
    with pytest.raises(Conflict, match="checking"):
        getattr(deletion, f"delete_{what}")(service, project.id, about)
    with service.database.transaction() as session:
        session.merge(check).state = "queued"
    getattr(deletion, f"delete_{what}")(service, project.id, about)
    assert "item" not in rows_left(service)
