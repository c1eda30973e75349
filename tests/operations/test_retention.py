"""Garbage collection: what has expired goes, what somebody needs stays, whenever it runs."""

import hashlib
import os
import threading
import time
from dataclasses import asdict

import pytest
from sqlalchemy import select, update

from auditor.operations import retention
from auditor.operations.retention import GRACE, collect
from auditor.store.artifacts import blob_key
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.tables import (
    Artifact,
    Audit,
    Blob,
    Checkpoint,
    Delivery,
    Link,
    Project,
    Spending,
    Upload,
    Webhook,
    Worker,
)
from tests.operations.rows import audited, blob, count, is_kept, keys, rows_left

DAY = 86400.0
NOTHING = {
    "uploads": 0,
    "artifacts": 0,
    "checkpoints": 0,
    "blobs": 0,
    "stray": 0,
    "idempotency": 0,
    "links": 0,
    "deliveries": 0,
    "workers": 0,
    "spending": 0,
}


def removed(service, *, at=None):
    """What a collection removed, without the kinds of which it removed nothing."""
    return {kind: n for kind, n in asdict(collect(service, at=at)).items() if n}


def keep_for(service, project, **days):
    with service.database.transaction() as session:
        session.execute(update(Project).where(Project.id == project.id).values(retention=days))


def test_nothing_of_a_fresh_service_is_collected(service, project):
    audited(service, project)
    before = rows_left(service), keys(service)
    assert asdict(collect(service)) == NOTHING
    assert (rows_left(service), keys(service)) == before


def test_artifacts_past_their_retention_go_and_their_rows_say_so(service, project):
    made = audited(service, project, at=time.time() - 31 * DAY)
    keep_for(service, project, adversarial=30, report=400, work=400)
    assert removed(service) == {"artifacts": 1, "blobs": 1, "idempotency": 1, "links": 1}
    with service.database.reading() as session:
        gone = session.scalars(select(Artifact).where(Artifact.removed_at.is_not(None))).all()
    assert [(row.kind, row.sha256) for row in gone] == [("adversarial", None)]
    assert not is_kept(service, made.files["adversarial"])
    assert is_kept(service, made.files["report"])
    assert asdict(collect(service)) == NOTHING


def test_projects_without_retention_keep_everything_but_checkpoints(service, project):
    made = audited(service, project, at=time.time() - 1000 * DAY)
    collect(service)
    assert count(service, Checkpoint) == 0
    assert keys(service, "work") == set()
    assert all(is_kept(service, sha256) for sha256 in made.files.values())


@pytest.mark.parametrize(("days", "age", "kept"), [(None, 2, 0), (None, 0.5, 1), (7, 6, 1), (7, 8, 0), (0, 0.01, 0)])
def test_checkpoints_of_finished_audits_are_kept_for_their_days(service, project, days, age, kept):
    audited(service, project, at=time.time() - age * DAY)
    if days is not None:
        keep_for(service, project, work=days)
    collect(service)
    assert count(service, Checkpoint) == kept
    assert len(keys(service, "work")) == kept


def test_checkpoints_of_an_audit_that_runs_are_kept_however_old(service, project):
    audited(service, project, state="running", at=time.time() - 100 * DAY)
    collect(service)
    assert count(service, Checkpoint) == 1
    assert len(keys(service, "work")) == 1


def test_blobs_that_nothing_refers_to_go_after_a_day(service):
    with service.database.transaction() as session:
        old = blob(service, session, b"old", at=time.time() - GRACE - 60)
        young = blob(service, session, b"young", at=time.time() - GRACE + 60)
    assert removed(service) == {"blobs": 1}
    assert not is_kept(service, old)
    assert is_kept(service, young)


def test_more_blobs_than_one_batch_are_collected(service, monkeypatch):
    monkeypatch.setattr("auditor.operations.retention._BATCH", 3)
    with service.database.transaction() as session:
        for number in range(10):
            blob(service, session, b"old %d" % number, at=1.0)
    assert removed(service) == {"blobs": 10}
    assert keys(service) == set()


def test_a_blob_that_is_referred_to_again_survives_its_collection(service, monkeypatch):
    """The collector has seen it unused; before its row is locked, somebody uses it."""
    with service.database.transaction() as session:
        sha256 = blob(service, session, b"old", at=1.0)

    def refer_first(service, digest, **bounds):
        with service.database.transaction() as session:
            blobs.refer(session, digest, 3)
        return delete(service, digest, **bounds)

    delete = retention.remove_blob
    monkeypatch.setattr(retention, "remove_blob", refer_first)
    assert removed(service) == {}
    assert is_kept(service, sha256)


def test_writers_and_collectors_at_once_never_leave_a_row_without_bytes(service):
    """Two writers put and refer to blobs, row first, while two collectors take all that was not used for a day."""
    stop, errors, written, collected = time.monotonic() + 1.5, [], [], []

    def write(data):
        while time.monotonic() < stop and not errors:
            for one in data:
                sha256 = hashlib.sha256(one).hexdigest()
                with service.database.transaction() as session:
                    blobs.refer(session, sha256, len(one))
                service.artifacts.put([one])
                with service.database.transaction() as session:
                    row = session.get(Blob, sha256, with_for_update=True)
                    if row is None or service.artifacts.head(blob_key(sha256)) is None:
                        errors.append((one, row))
                    else:
                        row.used_at = 1.0  # a day passes
                        written.append(sha256)

    def gather():
        while time.monotonic() < stop and not errors:
            collected.append(collect(service).blobs)

    threads = [threading.Thread(target=gather) for _ in range(2)]
    threads += [threading.Thread(target=write, args=([b"a%d" % k, b"b%d" % k],)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(written) > 4
    assert sum(collected) > 4


def test_expired_uploads_go_with_their_pieces(service, project):
    at = time.time()
    rows = {
        name: Upload(project_id=project.id, filename=name, size=2, created_at=at, expires_at=expires)
        for name, expires in (("over", at - 2 * 3600), ("assembling", at - 60), ("open", at + 60))
    }
    with service.database.transaction() as session:
        session.add_all(rows.values())
    for row in rows.values():
        service.artifacts.write(f"uploads/{row.id}/{0:020}", b"piece")
    assert removed(service) == {"uploads": 1}
    assert keys(service) == {f"uploads/{rows[name].id}/{0:020}" for name in ("assembling", "open")}


def test_stray_keys_go_after_a_day(service, project):
    audited(service, project)
    known = keys(service)
    unknown = {"incoming/x", "work/gone/prepared/1-a", "uploads/gone/0", blob_key("ab" * 32), "health/x"}
    for key in unknown:
        service.artifacts.write(key, b"stray")
    assert removed(service) == {}
    assert keys(service) == known | unknown
    for key in known | unknown:
        os.utime(service.artifacts.path(key), (1.0, 1.0))
    assert removed(service) == {"stray": len(unknown)}
    assert keys(service) == known


def test_what_a_killed_writer_left_half_written_goes(service):
    half = service.artifacts.path("incoming/x#1")
    half.parent.mkdir()
    half.write_bytes(b"half")
    assert removed(service) == {}
    os.utime(half, (1.0, 1.0))
    assert removed(service) == {"stray": 1}
    assert not half.exists()


def test_old_links_messages_and_workers_go(service, project):
    made, at = audited(service, project), time.time()
    hook = Webhook(project_id=project.id, url="https://x.example", secret="s", events=[], created_at=at)
    with service.database.transaction() as session:
        session.add(hook)
        session.flush()
        for state, age in (("delivered", 31), ("failed", 31), ("queued", 31), ("delivered", 29)):
            session.add(Delivery(webhook_id=hook.id, type="t", body="{}", state=state, created_at=at - age * DAY))
        session.add(Link(audit_id=made.audit, sha256="1" * 64, created_at=at - 9, expires_at=at - 1))
        for owner, age in (("dead", 2 * DAY), ("alive", 10)):
            session.add(
                Worker(owner=owner, host="h", pid=1, device="cpu", kinds=[], started_at=at - age, seen_at=at - age)
            )
    assert removed(service) == {"links": 1, "deliveries": 2, "workers": 1}
    assert (count(service, Link), count(service, Delivery), count(service, Worker)) == (1, 2, 1)


def test_what_was_spent_is_forgotten_after_sixty_days(service, project):
    with service.database.transaction() as session:
        for day in (100, 101):
            session.add(Spending(project_id=project.id, day=day, seconds=1.0))
    assert removed(service, at=161 * DAY - 1) == {}
    assert removed(service, at=161 * DAY) == {"spending": 1}
    with service.database.reading() as session:
        assert session.scalars(select(Spending.day)).all() == [101]


def test_the_time_is_the_databases(service, project, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with service.database.transaction() as session:
        session.add(Upload(project_id=project.id, filename="f", size=1, created_at=now(), expires_at=now() - 7200))
    assert removed(service) == {"uploads": 1}
    assert count(service, Audit) == 0
