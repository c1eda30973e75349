"""Whole audits by real workers with real children, held against the command line's results."""

import dataclasses
import errno
import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from auditor import options, queue
from auditor.local import audit as local_audit
from auditor.operations import audits, create, models
from auditor.operations.work import items
from auditor.request import settle
from auditor.resources import FINISHED, Declared, NewAudit
from auditor.store.artifacts import blob_key
from auditor.store.tables import Artifact, Audit, Checkpoint, Dataset, Item, Outcome, Point, Stage, Version
from auditor.workers.loop import Worker
from tests.conftest import DEMO
from tests.graph.models import text
from tests.work import (
    WORDS,
    at_work,
    audit_of,
    events,
    put_audit,
    put_blob,
    put_inputs,
    report,
    rows,
    until,
    work_off,
)

# For what does not depend on the database.
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The same audit on the command line."""
    out = tmp_path_factory.mktemp("calm")
    request = options.request({**WORDS, "model": DEMO / "digits.onnx", "data": DEMO / "digits.npz", "out": out})
    return local_audit(request, settle(request), lambda step: None)


@pytest.fixture
def worker(service, tmp_path):
    """Makes workers."""
    numbers = itertools.count()

    def make(**options):
        name = f"worker-{next(numbers)}"
        return Worker(service, name, tmp_path / name, **options)

    return make


def test_an_audit_through_the_service_has_the_command_lines_results(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    work_off(worker())
    audit = audit_of(service, audit_id)
    assert audit.problem is None
    assert audit.state == "done"
    assert audit.results_sha256 == calm.report.results_sha256 == report(service, audit_id)["results_sha256"]
    files = {row.filename: service.artifacts.read(blob_key(row.sha256)) for row in rows(service, Artifact)}
    for name in ("adversarial.npz", "outcomes.parquet"):
        assert files[name] == (calm.folder / name).read_bytes()
    told = events(service, audit_id)
    assert told[:2] == ["audit.settled", "audit.running"]
    assert told[-1] == "audit.done"
    assert told.count("audit.stage") == len(rows(service, Stage, audit_id=audit_id))
    assert len(rows(service, Point, audit_id=audit_id)) == 2
    assert all(item.state == "done" for item in rows(service, Item))
    assert 0 < audit.seconds == pytest.approx(sum(item.seconds for item in rows(service, Item)))
    for curve in calm.report.curves:
        found = sorted(rows(service, Outcome, audit_id=audit_id, norm=curve.norm), key=lambda row: row.position)
        assert [row.example for row in found] == curve.examples.id
        assert [row.status for row in found] == [str(status) for status in curve.examples.status]
        assert [row.distance for row in found] == curve.examples.distance
        assert [row.attack for row in found] == curve.examples.attack
        assert [row.complete for row in found] == curve.examples.complete


@on_sqlite
def test_threats_beside_the_norms_are_work_items_like_the_rest(service, project, worker, tmp_path):
    words = {**WORDS, "also": ["fog", "jpeg-compression"]}
    audit_id = put_audit(service, project, put_inputs(service, project), words=words)
    with at_work(worker(), worker()):
        until(lambda: audit_of(service, audit_id).state in FINISHED)
    audit = audit_of(service, audit_id)
    assert audit.problem is None
    (listed,) = [row for row in rows(service, Stage, audit_id=audit_id) if row.item == "other-00002" and row.position]
    assert (listed.attack, listed.norm, listed.tried, listed.forwards) == ("jpeg-compression", "", 8, 40)
    known = audits.show(service, project.id, audit_id)
    progress = audits.progress(known.listed)
    assert progress["done"] == progress["all"] == 3 * 4 + 4 + 2 * 3 + 3 * 2
    paths = {"model": DEMO / "digits.onnx", "data": DEMO / "digits.npz", "out": tmp_path / "calm"}
    request = options.request({**words, **paths})
    alone = local_audit(request, settle(request), lambda step: None)
    assert audit.results_sha256 == alone.report.results_sha256


def children():
    """The child processes of this process."""
    pids = []
    for task in Path("/proc/self/task").iterdir():
        pids += (task / "children").read_text().split()
    return [int(pid) for pid in pids if b"auditor.workers.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def at_work_on(service, kind):
    return any(row.state == "running" for row in rows(service, Item, kind=kind))


def test_two_workers_in_any_order_change_no_bit(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    with at_work(worker(), worker()):
        until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert audit_of(service, audit_id).results_sha256 == calm.report.results_sha256


@on_sqlite
def test_a_child_that_is_killed_goes_on_at_its_last_stage(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    with at_work(worker()):
        until(lambda: rows(service, Stage, audit_id=audit_id))
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert sum(row.deaths for row in rows(service, Item)) == 1
    assert audit_of(service, audit_id).results_sha256 == calm.report.results_sha256


@on_sqlite
def test_a_child_that_dies_while_it_waits_counts_against_no_item(service, project, worker):
    with at_work(worker()):
        until(children)
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        audit_id = put_audit(service, project, put_inputs(service, project))
        until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert {row.deaths for row in rows(service, Item)} == {0}


@on_sqlite
def test_a_full_disk_counts_as_a_loss_and_not_as_a_death(service, project, worker, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret")

    audit_id = put_audit(service, project, put_inputs(service, project))
    with monkeypatch.context() as patched:
        patched.setattr("auditor.workers.inputs.fetch", full)
        assert worker().run_once()
    (row,) = rows(service, Item)
    assert (row.state, row.losses, row.deaths) == ("queued", 1, 0)
    assert row.error.startswith("the worker failed with OSError\n")
    work_off(worker())
    assert audit_of(service, audit_id).state == "done"


@on_sqlite
def test_a_worker_that_lost_its_lease_discards_its_work(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    slow, other = worker(), worker()
    with at_work(slow):
        until(lambda: rows(service, Stage, audit_id=audit_id))
        items.free(service, slow.owner)
        with at_work(other):
            until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert audit_of(service, audit_id).results_sha256 == calm.report.results_sha256
    assert all(row.state == "done" for row in rows(service, Item))


@on_sqlite
def test_a_running_audit_is_cancelled_within_seconds(service, project, worker):
    words = {**WORDS, "attack": ["apgd-ce"], "examples": 400}
    audit_id = put_audit(service, project, put_inputs(service, project), words=words)
    with at_work(worker()):
        until(lambda: at_work_on(service, "attack"))
        attacking = children()
        audits.cancel(service, project.id, audit_id)
        until(lambda: audit_of(service, audit_id).state == "cancelled", seconds=10)
        until(lambda: not set(attacking) & set(children()), seconds=20)
    assert not at_work_on(service, "attack")
    assert events(service, audit_id)[-1] == "audit.cancelled"


@on_sqlite
def test_a_worker_that_is_told_to_stop_gives_its_work_back(service, project, worker, calm):
    audit_id = put_audit(service, project, put_inputs(service, project))
    with at_work(worker()):
        until(lambda: rows(service, Stage, audit_id=audit_id))
    assert not at_work_on(service, "attack")
    assert all((row.deaths, row.losses) == (0, 0) for row in rows(service, Item))
    work_off(worker())
    assert audit_of(service, audit_id).results_sha256 == calm.report.results_sha256


@on_sqlite
def test_a_dataset_that_cannot_be_read_fails_the_audit(service, project, worker, tmp_path):
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"PK\x03\x04 and nothing else")
    audit_id = put_audit(service, project, put_inputs(service, project, data=junk))
    work_off(worker())
    audit = audit_of(service, audit_id)
    assert (audit.state, audit.problem["type"]) == ("failed", "DatasetError")
    assert "junk.npz" in audit.problem["detail"]


@on_sqlite
def test_an_extension_by_examples_goes_on_from_the_slices_there_are(service, project, worker):
    inputs = put_inputs(service, project)
    words = {**WORDS, "also": ["contrast"]}
    before = put_audit(service, project, inputs, words=words)
    work_off(worker())
    longer = {**words, "examples": 64}
    extended = put_audit(service, project, inputs, words=longer, extends_id=before)
    work_off(worker())
    reused = {row.name for row in rows(service, Checkpoint, audit_id=extended) if "/0-" in row.key}
    whole = {"slice-00000", "slice-00001"}  # the third was not full
    assert reused == whole | {"other-00000-contrast", "other-00001-contrast"}
    with service.database.transaction() as session:
        session.get_one(Audit, extended).subject_sha256 = None  # so that it answers for nothing
    anew = put_audit(service, project, inputs, words=longer)
    work_off(worker())
    assert not any("/0-" in row.key for row in rows(service, Checkpoint, audit_id=anew))
    assert audit_of(service, extended).results_sha256 == audit_of(service, anew).results_sha256 is not None


@on_sqlite
def test_a_time_budget_ends_the_audit_with_bounds(service, project, worker):
    words = {**WORDS, "attack": ["apgd-ce", "square"], "examples": 400, "budget": "4s"}
    audit_id = put_audit(service, project, put_inputs(service, project), words=words)
    work_off(worker())
    audit = audit_of(service, audit_id)
    assert (audit.state, audit.stopped) == ("done", "the time budget is used up")
    assert audit.finished_at - audit.started_at < 30
    assert any(point.unfinished for point in rows(service, Point, audit_id=audit_id))
    assert any("time budget" in said for said in report(service, audit_id)["not_tested"])


@on_sqlite
def test_uploads_are_checked(service, project, worker, tmp_path):
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"<html>")
    (good, data), (bad, _) = (
        put_inputs(service, project, state="checking"),
        put_inputs(service, project, model=junk, state="checking"),
    )
    with service.database.transaction() as session:
        for about in ({"version_id": good}, {"version_id": bad}, {"dataset_id": data}):
            queue.put(session, project_id=project.id, kind="check", name="check", **about)
    work_off(worker(kinds=("check",)))
    states = {row.id: row for table in (Version, Dataset) for row in rows(service, table)}
    assert (states[good].state, states[good].facts["classes"]) == ("ready", 10)
    assert (states[data].state, states[data].facts["examples"]) == ("ready", 500)
    assert states[bad].state == "refused"
    assert "<html>" in states[bad].reason


@on_sqlite
def test_a_check_that_takes_too_long_is_refused(service, project, worker):
    version, _ = put_inputs(service, project, state="checking")
    hasty = dataclasses.replace(service, settings=dataclasses.replace(service.settings, check_seconds=0.01))
    with service.database.transaction() as session:
        queue.put(session, project_id=project.id, kind="check", name="check", version_id=version)
    with at_work(Worker(hasty, "hasty", service.settings.scratch)):
        until(lambda: rows(service, Version, id=version)[0].state == "refused")
    assert "longer than 0.01 seconds" in rows(service, Version, id=version)[0].reason


@on_sqlite
@pytest.mark.parametrize(
    ("tail", "labels", "declared", "asked"),
    [
        ("y = Sigmoid(z)", 3, {"label": "2"}, {}),
        ("y = Sigmoid(z)", 3, {}, {"multilabel": True}),
        ("y = Identity(z)", 1, {"threshold": 0.25}, {}),
    ],
)
def test_how_a_model_was_declared_to_be_read_holds_for_its_audits(
    service, project, worker, tmp_path, tail, labels, declared, asked
):
    """From the upload's check to the same results as on the command line."""
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((8, labels)).astype(np.float32), rng.standard_normal((30, 8)).astype(np.float32)
    body = f"f (float[N,8] x) => (float[N,{labels}] y) {{ z = MatMul(x, W) {tail} }}"
    paths = {"model": tmp_path / "m.onnx", "data": tmp_path / "d.npz"}
    paths["model"].write_bytes(text(body, W=weights))
    np.savez(paths["data"], x=x, y=(x @ weights > declared.get("threshold", 0)).astype(np.uint8))
    sha256 = put_blob(service, paths["model"].read_bytes())
    new = models.NewVersion("labels", "m.onnx", Declared(**declared))
    models.add(service, project.id, new, sha256, paths["model"].stat().st_size)
    work_off(worker())
    _, dataset_id = put_inputs(service, project, data=paths["data"])
    words = {"domain": "none", "norm": ["L2"], "eps": ["0.2,0.5"], "attack": ["ddn"], "examples": 20, "threads": 1}
    audit_id = create.create(service, project.id, NewAudit(model="labels", data=dataset_id, **words, **asked))
    work_off(worker())
    calm = options.request({**words, **declared, **asked, **paths, "out": tmp_path / "out"})
    expected = local_audit(calm, settle(calm), lambda step: None).report
    assert report(service, audit_id)["results_sha256"] == expected.results_sha256
