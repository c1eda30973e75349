"""fsck finds each thing that can be wrong, says nothing when nothing is, and mends what can be mended without loss."""

import hashlib
import os
import time

import pytest
from sqlalchemy import select, update

from auditor.operations.consistency import fsck
from auditor.store.artifacts import blob_key
from auditor.store.tables import Artifact, Audit, Checkpoint, Dataset, Item, Version
from tests.operations.rows import audited, count, item, keys


@pytest.fixture
def made(service, project):
    """A finished audit, its checkpoint with a true digest and size."""
    made = audited(service, project)
    data = b"checkpoint"
    with service.database.transaction() as session:
        row = session.scalars(select(Checkpoint)).one()
        row.sha256, row.size = hashlib.sha256(data).hexdigest(), len(data)
    return made


def change(service, table, **columns):
    with service.database.transaction() as session:
        session.execute(update(table).values(**columns))


def one(service, **how):
    """The only finding, as text."""
    (found,) = fsck(service, **how)
    return str(found)


def test_nothing_is_wrong_with_a_finished_audit(service, made):
    assert fsck(service) == fsck(service, deep=True, repair=True) == []


def test_lost_bytes_are_found_and_nothing_is_deleted_for_them(service, made):
    service.artifacts.delete([blob_key(made.files["report"])])
    found = one(service, repair=True)
    assert found.startswith(f"blob {made.files['report']}: its bytes are missing")
    assert count(service, Artifact) == 3


def test_shortened_bytes_are_found(service, made):
    service.artifacts.path(blob_key(made.files["m"])).write_bytes(b"mod")
    assert "3 bytes lie there instead of 5" in one(service)


def test_changed_bytes_are_found_by_a_deep_look_alone(service, made):
    service.artifacts.path(blob_key(made.files["m"])).write_bytes(b"medel")
    assert fsck(service) == []
    assert "another digest" in one(service, deep=True)


@pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
def test_a_damaged_checkpoint_is_forgotten(service, made, damage):
    (key,) = keys(service, "work")
    if damage == "missing":
        service.artifacts.delete([key])
    else:
        service.artifacts.write(key, {"shorter": b"check", "changed": b"checkpaint"}[damage])
    assert "checkpoint prepared of audit" in one(service, deep=True)
    assert count(service, Checkpoint) == 1
    assert "(mended)" in str(fsck(service, deep=True, repair=True)[0])
    assert count(service, Checkpoint) == 0


def test_stray_files_are_found_after_a_day_and_removed(service, made):
    strays = {"work/gone/prepared/1-a", "incoming/x", blob_key("ab" * 32)}
    for key in strays:
        service.artifacts.write(key, b"stray")
    assert fsck(service) == []
    for key in strays:
        os.utime(service.artifacts.path(key), (1.0, 1.0))
    assert {found.where for found in fsck(service)} == strays
    assert strays <= keys(service)
    assert all(found.mended for found in fsck(service, repair=True))
    assert not strays & keys(service)


def test_a_wrong_count_of_what_is_left_is_mended(service, project, made):
    change(service, Audit, state="running", pending=5)
    for number, state in enumerate(("queued", "running", "done", "poisoned")):
        item(service, project, made, name=f"slice-{number}", state=state, owner="w", lease_until=time.time() + 60)
    assert "waits for 5 work items, but 2 are left" in one(service)
    assert "(mended)" in one(service, repair=True)
    assert fsck(service) == []
    with service.database.reading() as session:
        assert session.scalars(select(Audit.pending)).one() == 2


def test_an_audit_that_waits_for_nothing_is_finished(service, project, made):
    change(service, Audit, state="running", pending=1, spec={"device": "cpu"})
    item(service, project, made, state="done")
    found = fsck(service, repair=True)
    assert any("waits for 1 work items, but 0 are left (mended)" in str(one) for one in found)
    with service.database.reading() as session:
        assert session.scalars(select(Item.kind).where(Item.state == "queued")).all() == ["finish"]
    assert fsck(service) == []


def test_work_that_runs_without_a_lease_is_given_back(service, project, made):
    change(service, Audit, state="running", pending=1)
    item(service, project, made, state="running")
    assert "without an owner or a lease" in one(service)
    fsck(service, repair=True)
    with service.database.reading() as session:
        assert session.scalars(select(Item.lease_until)).one() < time.time()


@pytest.mark.parametrize("state", ["settling", "queued", "running"])
def test_an_audit_that_nobody_works_on_is_named(service, made, state):
    change(service, Audit, state=state)
    assert f"audit {made.audit}: is {state}, but nothing of it is queued or running" in one(service)


@pytest.mark.parametrize(("table", "column"), [(Version, "version_id"), (Dataset, "dataset_id")])
def test_a_check_that_nobody_will_make_is_put_again(service, made, table, column):
    change(service, table, state="checking")
    assert "waits for a check that nobody will make" in one(service)
    assert count(service, Item) == 0
    assert "(mended)" in one(service, repair=True)
    assert fsck(service) == []
    with service.database.reading() as session:
        row = session.scalars(select(Item)).one()
    assert (row.kind, row.state) == ("check", "queued")
    assert getattr(row, column) == getattr(made, table.__tablename__)


def test_a_done_audit_without_a_report_is_named_and_one_whose_retention_ended_is_not(service, made):
    change(service, Artifact, removed_at=1.0, sha256=None)
    assert fsck(service) == []
    with service.database.transaction() as session:
        session.delete(session.get_one(Artifact, (made.audit, "report")))
    assert "has no report" in one(service)
