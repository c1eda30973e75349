"""The service's side of work items, with what a child would have said put in by hand."""

import os
import threading

import numpy as np
import pytest

from auditor.operations import audits, deletion, projects
from auditor.operations.work import attacking, checkpoints, checks, finishing, items, settling
from auditor.operations.work.tasks import task
from auditor.queue import LOSSES, POISON, LeaseLost
from auditor.store.artifacts import blob_key
from auditor.store.database import now
from auditor.store.queries import work as queries
from auditor.store.tables import Artifact, Audit, Checkpoint, Dataset, Item, Outcome, Point, Stage, Version
from tests.work import audit_of, events, put_audit, put_inputs, rows

KINDS = ("check", "settle", "prepare", "attack", "finish")
SPEC = {
    "threats": [{"norm": "Linf", "eps": ["0.1"]}, {"norm": "L2", "eps": ["0.5"]}],
    "device": "cpu",
    "examples": 4,
    "budget": {"passes": None, "seconds": None},
    "gates": [],
}
SETTLED = {
    "spec": SPEC,
    "spec_sha256": "5" * 64,
    "subject_sha256": "6" * 64,
    "chosen": ["preset 'quick'"],
    "estimate": {"examples": 4},
    "device": "cpu",
}
PLAN = {"batch": 1, "threads": 2, "stages": [{"name": "fgsm"}], "slices": [[0, 2], [2, 4]]}
PREPARED = {"examples": 4, "items": ["slice-00000", "slice-00001"], "facts": {"plan": PLAN, "fingerprint": {}}}
SAMPLE = {
    "index": np.array([7, 3, 9, 1]),
    "label": np.array([0, 1, 2, 3]),
    "predicted": np.array([0, 1, 2, 0]),
}
STAGE = {
    "position": 0,
    "attack": "fgsm",
    "norm": "Linf",
    "access": "white-box",
    "seconds": 0.25,
    "stage": "fgsm",
    "tried": 2,
    "broken": 1,
    "claims": 1,
    "refuted": 0,
    "forwards": 2,
    "backwards": 2,
    "halvings": 0,
}
SUMMARY = {"clean_accuracy": 0.9, "points": []}
POINT = {
    "norm": "Linf",
    "position": 0,
    "eps": "0.1",
    "value": 0.1,
    "robust_accuracy": 0.5,
    "lower": 0.1,
    "upper": 0.9,
    "true_lower": 0.0,
    "true_upper": 0.9,
    "certified_accuracy": None,
    "broken_by": {"fgsm": 1},
    "unfinished": 0,
}


@pytest.fixture
def take(service):
    """Claims the next work item."""

    def claim(owner="worker", **options):
        return items.claim(service, owner, kinds=KINDS, devices=("cpu",), **options)

    return claim


@pytest.fixture
def audit_id(service, project):
    return put_audit(service, project, put_inputs(service, project))


@pytest.fixture
def prepared(service, audit_id, take):
    """An audit with two slices in the queue."""
    settling.settled(service, take(), SETTLED, 0.5)
    claim = take()
    task(service, claim)
    attacking.prepared(service, claim, PREPARED, SAMPLE, 0.5)
    return audit_id


def state(service, audit_id):
    return audit_of(service, audit_id).state


def item(service, name):
    return rows(service, Item, name=name)[-1]


def found(*distances):
    """What a child says of the examples of slice-00000."""
    n = len(distances)
    broken = np.isfinite(distances)
    return {
        "Linf/position": np.arange(n),
        "Linf/distance": np.array(distances),
        "Linf/adversarial": np.where(np.isfinite(distances), 3, -1),
        "Linf/confidence": np.where(np.isfinite(distances), 0.75, -np.inf),
        "Linf/attack": np.where(broken, "fgsm", ""),
        "Linf/margin": np.where(broken, 0.01, -np.inf),
        "Linf/status": np.where(broken, "broken", "survived"),
        "Linf/complete": np.ones(n, bool),
        "Linf/forwards": np.full(n, 3),
        "Linf/backwards": np.full(n, 2),
    }


def files(folder):
    folder.mkdir()
    for name in finishing.KINDS:
        (folder / name).write_bytes(name.encode())
    return {"verdict": "none", "results_sha256": "7" * 64, "points": [POINT], "summary": SUMMARY, "files": []}


def test_a_settled_audit_waits_to_be_prepared(service, audit_id, take):
    settling.settled(service, take(), SETTLED, 0.5)
    audit = audit_of(service, audit_id)
    assert (audit.state, audit.spec, audit.subject_sha256) == ("queued", SPEC, "6" * 64)
    claim = take()
    assert (claim.kind, claim.audit_id) == ("prepare", audit_id)
    assert task(service, claim).began is not None
    assert state(service, audit_id) == "running"
    assert events(service, audit_id) == ["audit.settled", "audit.running"]


def test_a_refusal_fails_the_audit_with_its_reason(service, audit_id, take):
    items.refused(service, take(), "DatasetError", "labels are missing", 0.5)
    audit = audit_of(service, audit_id)
    assert (audit.state, audit.problem) == ("failed", {"type": "DatasetError", "detail": "labels are missing"})
    assert events(service, audit_id) == ["audit.failed"]
    assert take() is None


def test_preparation_puts_a_row_per_example_and_norm_and_an_item_per_slice(service, prepared):
    outcomes = sorted(rows(service, Outcome, audit_id=prepared), key=lambda row: (row.norm, row.position))
    assert [(row.norm, row.position, row.example) for row in outcomes] == [
        (norm, position, example) for norm in ("L2", "Linf") for position, example in enumerate((7, 3, 9, 1))
    ]
    assert [row.status for row in outcomes] == 2 * ["not_tried", "not_tried", "not_tried", "wrong"]
    assert [row.complete for row in outcomes] == 2 * [False, False, False, True]
    assert audit_of(service, prepared).pending == 2
    assert {row.name for row in rows(service, Item, kind="attack", state="queued")} == {"slice-00000", "slice-00001"}


@pytest.mark.parametrize(("attack", "inherited"), [("fgsm", ["slice-00000"]), ("transfer-admix", [])])
def test_more_examples_keep_the_slices_whose_attacks_do_not_use_the_others(
    service, project, audit_id, take, attack, inherited
):
    stage = {"name": attack, "attack": attack, "norm": "Linf", "parameters": {}, "warm": False}
    plan = PLAN | {"stages": [stage]}
    answer = PREPARED | {"facts": PREPARED["facts"] | {"plan": plan}}
    settling.settled(service, take(), SETTLED, 0.5)
    attacking.prepared(service, take(), answer, SAMPLE, 0.5)
    slices = take(), take()
    for name in ("slice-00000", "slice-00001", "prepared"):
        checkpoints.write(service, slices[0], name, b"what was found")
    about = audit_of(service, audit_id)
    more = put_audit(service, project, (about.version_id, about.dataset_id), extends_id=audit_id)
    settling.settled(service, take(), SETTLED | {"spec": SPEC | {"examples": 6}}, 0.5)
    longer = answer | {"facts": answer["facts"] | {"plan": plan | {"slices": [[0, 2], [2, 6]]}}}
    attacking.prepared(service, take(), longer, SAMPLE, 0.5)
    assert [row.name for row in rows(service, Checkpoint, audit_id=more)] == inherited


def test_a_stage_fills_in_its_examples_and_is_told_once(service, prepared, take):
    claim = take()
    for _ in range(2):  # as after a kill between the stage and the end of its item
        attacking.stage_done(service, claim, STAGE, found(0.05, np.inf))
    first, second, *rest = sorted(rows(service, Outcome, norm="Linf"), key=lambda row: row.position)
    assert (first.status, first.distance, first.attack, first.margin) == ("broken", 0.05, "fgsm", 0.01)
    assert (second.status, second.distance, second.attack, second.margin) == ("survived", None, None, None)
    assert (first.adversarial, first.confidence, second.adversarial, second.confidence) == (3, 0.75, None, None)
    assert (first.forwards, first.backwards) == (3, 2)
    assert [row.status for row in rest] == ["not_tried", "wrong"]
    (stage,) = rows(service, Stage)
    assert (stage.item, stage.tried, stage.broken, stage.seconds) == (claim.name, 2, 1, 0.25)
    assert events(service, prepared).count("audit.stage") == 1


def test_the_last_slice_puts_the_end_of_the_audit(service, prepared, take):
    attacking.attack_done(service, take(), 1.0)
    assert rows(service, Item, kind="finish") == []
    attacking.attack_done(service, take(), 2.0)
    assert take().kind == "finish"
    assert audit_of(service, prepared).seconds == 4.0


def test_a_finished_audit_has_its_files_and_points_once(service, prepared, take, tmp_path):
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    claim, answer = take(), files(tmp_path / "out")
    finishing.finished(service, claim, tmp_path / "out", answer, 1.0)
    audit = audit_of(service, prepared)
    assert (audit.state, audit.verdict, audit.results_sha256) == ("done", "none", "7" * 64)
    assert audit.facts["summary"] == SUMMARY
    assert {row.kind for row in rows(service, Artifact)} == {kind for kind, _ in finishing.KINDS.values()}
    (report,) = rows(service, Artifact, kind="report")
    assert service.artifacts.read(blob_key(report.sha256)) == b"report.json"
    assert [point.robust_accuracy for point in rows(service, Point)] == [0.5]
    assert events(service, prepared)[-1] == "audit.done"
    with pytest.raises(LeaseLost):
        finishing.finished(service, claim, tmp_path / "out", answer, 1.0)
    assert events(service, prepared).count("audit.done") == 1


def test_a_link_in_place_of_a_file_is_not_followed(service, prepared, take, tmp_path):
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    answer, secret = files(tmp_path / "out"), tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "out" / "report.json").unlink()
    os.symlink(secret, tmp_path / "out" / "report.json")
    with pytest.raises(finishing.FileMissing):
        finishing.finished(service, take(), tmp_path / "out", answer, 1.0)
    assert state(service, prepared) == "running"


def test_an_equal_request_gets_the_stored_results_at_once(service, project, prepared, take, tmp_path):
    attacking.stage_done(service, take(), STAGE, found(0.05, np.inf))
    items.free(service, "worker")
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    finishing.finished(service, take(), tmp_path / "out", files(tmp_path / "out"), 1.0)
    again = put_audit(service, project, put_inputs(service, project))
    settling.settled(service, take(), SETTLED, 0.5)
    first, second = audit_of(service, prepared), audit_of(service, again)
    assert second.state == "done"
    assert (second.results_sha256, second.verdict, second.facts) == (first.results_sha256, first.verdict, first.facts)
    for table in (Point, Outcome, Stage, Artifact):
        assert len(rows(service, table, audit_id=again)) == len(rows(service, table, audit_id=prepared)) > 0
    assert events(service, again) == ["audit.settled", "audit.done"]
    assert take() is None


def test_a_stored_report_that_is_being_deleted_is_still_whole(
    service, project, prepared, take, tmp_path, monkeypatch
):
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    finishing.finished(service, take(), tmp_path / "out", files(tmp_path / "out"), 1.0)
    again = put_audit(service, project, put_inputs(service, project))
    deleting = threading.Thread(target=deletion.delete_audit, args=(service, project.id, prepared))
    copy = queries.copy_results

    def overtaken(*arguments):
        deleting.start()
        deleting.join(1.0)
        copy(*arguments)

    monkeypatch.setattr(queries, "copy_results", overtaken)
    settling.settled(service, take(), SETTLED, 0.5)
    deleting.join()
    assert (rows(service, Audit, id=prepared), state(service, again)) == ([], "done")
    (kept,) = rows(service, Artifact, audit_id=again, kind="report")
    assert service.artifacts.read(blob_key(kept.sha256)) == b"report.json"


@pytest.mark.parametrize(
    "other",
    [
        {"facts": {**SETTLED, "spec": {**SPEC, "gates": [{"norm": "Linf", "eps": "0.1", "threshold": 0.5}]}}},
        {"facts": {**SETTLED, "subject_sha256": "8" * 64}},
        {"words": {"margin": 0.05}},
        {"stopped": "the time budget is used up"},
        {"removed": True},
    ],
    ids=["gates", "subject", "margin", "stopped", "removed"],
)
def test_another_request_does_not_get_the_stored_results(service, project, prepared, take, tmp_path, other):
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    finishing.finished(service, take(), tmp_path / "out", files(tmp_path / "out"), 1.0)
    with service.database.transaction() as session:
        session.get_one(Audit, prepared).stopped = other.get("stopped")
        session.get_one(Artifact, (prepared, "report")).removed_at = now() if other.get("removed") else None
    again = put_audit(service, project, put_inputs(service, project), words=other.get("words", {}))
    settling.settled(service, take(), other.get("facts", SETTLED), 0.5)
    assert state(service, again) == "queued"


def test_the_time_budget_cuts_what_waits_and_finishes(service, prepared, take):
    attacking.out_of_time(service, take(), "the time budget is used up", 1.0)
    assert audit_of(service, prepared).stopped == "the time budget is used up"
    assert {row.state for row in rows(service, Item, kind="attack")} == {"cut"}
    assert take().kind == "finish"


def test_the_time_budget_waits_for_what_runs(service, prepared, take):
    one, other = take("one"), take("other")
    attacking.out_of_time(service, one, "the time budget is used up", 1.0)
    assert take() is None
    attacking.out_of_time(service, other, "the time budget is used up", 1.0)
    assert take().kind == "finish"


def test_a_cancelled_audit_ends_with_its_last_running_item(service, project, prepared, take):
    one, other = take("one"), take("other")
    audits.cancel(service, project.id, prepared)
    assert not items.heartbeat(service, one)
    items.cancelled(service, one, 1.0)
    assert state(service, prepared) == "cancelling"
    attacking.attack_done(service, other, 1.0)  # it was done just then
    assert state(service, prepared) == "cancelled"
    assert events(service, prepared)[-1] == "audit.cancelled"
    assert take() is None


def test_a_cancelled_audit_ends_when_its_last_worker_dies(service, project, prepared, take):
    take("one")
    audits.cancel(service, project.id, prepared)
    items.free(service, "one")
    items.sweep(service)
    assert state(service, prepared) == "cancelled"


def test_a_slice_that_kills_its_child_leaves_its_examples_as_bounds(service, prepared, take):
    claim = deadly = take()
    for _ in range(POISON):
        items.died(service, claim, "killed by SIGSEGV\nin /usr/lib/secret.so", 1.0)
        with service.database.transaction() as session:
            session.get_one(Item, deadly.id).not_before = 0.0
            session.get_one(Item, deadly.id).priority = 1  # to be claimed before the other one
        claim = take()
    assert item(service, deadly.name).state == "poisoned"
    assert claim.id != deadly.id
    attacking.attack_done(service, claim, 1.0)
    assert take().kind == "finish"
    assert deadly.name in audit_of(service, prepared).stopped
    assert audit_of(service, prepared).stopped.endswith("SIGSEGV")
    assert "secret.so" in item(service, deadly.name).error


def test_a_preparation_that_kills_its_child_fails_the_audit(service, audit_id, take):
    settling.settled(service, take(), SETTLED, 0.5)
    for _ in range(POISON):
        claim = take()
        items.died(service, claim, "killed by SIGSEGV", 1.0)
        with service.database.transaction() as session:
            session.get_one(Item, claim.id).not_before = 0.0
    assert state(service, audit_id) == "failed"
    assert "SIGSEGV" in audit_of(service, audit_id).problem["detail"]


def test_what_a_worker_fails_at_is_tried_for_longer(service, audit_id, take):
    for lost in range(LOSSES + 1):
        assert state(service, audit_id) == "settling"
        claim = take()
        items.lost(service, claim, "the worker failed with OSError\nno space left on /secret", 1.0)
        row = item(service, "settle")
        assert (row.losses, row.deaths, row.seconds) == (lost + 1, 0, lost + 1.0)
        with service.database.transaction() as session:
            session.get_one(Item, claim.id).not_before = 0.0
    assert state(service, audit_id) == "failed"
    assert audit_of(service, audit_id).problem["detail"].endswith("OSError")


def test_an_item_that_is_lost_too_often_is_given_up(service, audit_id, take):
    for _ in range(LOSSES + 1):
        claim = take()
        with service.database.transaction() as session:
            session.get_one(Item, claim.id).lease_until = 0.0
        items.sweep(service)
        with service.database.transaction() as session:
            session.get_one(Item, claim.id).not_before = 0.0
    assert state(service, audit_id) == "failed"


def test_work_that_is_given_back_counts_for_nothing(service, prepared, take):
    claim = take()
    items.give_back(service, claim, 1.5)
    again = take()
    assert (again.id, again.attempt) == (claim.id, claim.attempt + 1)
    row = item(service, claim.name)
    assert (row.deaths, row.losses, row.seconds) == (0, 0, 1.5)


def test_what_was_spent_counts_after_the_audit_is_deleted(service, project, prepared, take, tmp_path):
    def spent():
        with service.database.reading() as session:
            return projects.usage(session, project.id).seconds

    items.give_back(service, take(), 0.25)
    for _ in range(2):
        attacking.attack_done(service, take(), 1.0)
    finishing.finished(service, take(), tmp_path / "out", files(tmp_path / "out"), 0.5)
    assert spent() == audit_of(service, prepared).seconds == 3.75
    deletion.delete_audit(service, project.id, prepared)
    assert spent() == 3.75


def test_whoever_lost_the_lease_changes_nothing(service, prepared, take):
    old = take("old")
    items.free(service, "old")
    new = take("new")
    assert new.id == old.id
    checkpoints.write(service, new, old.name, b"new")
    with pytest.raises(LeaseLost):
        checkpoints.write(service, old, old.name, b"old")
    with pytest.raises(LeaseLost):
        attacking.stage_done(service, old, STAGE, found(0.05, np.inf))
    with pytest.raises(LeaseLost):
        attacking.attack_done(service, old, 1.0)
    with pytest.raises(LeaseLost):
        settling.mixed(service, old)
    with pytest.raises(LeaseLost):
        items.heartbeat(service, old)
    assert checkpoints.read(service, new, old.name) == b"new"
    assert rows(service, Stage) == []
    assert audit_of(service, prepared).pending == 2
    assert len(list(service.artifacts.list(f"work/{prepared}"))) == 1


def test_a_checkpoint_replaces_the_one_before(service, prepared, take):
    claim = take()
    for data in (b"first", b"second"):
        checkpoints.write(service, claim, claim.name, data)
    assert checkpoints.read(service, claim, claim.name) == b"second"
    assert len(list(service.artifacts.list(f"work/{prepared}"))) == 1
    assert checkpoints.read(service, claim, "another") is None


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_checkpoint_that_is_harmed_counts_as_none(service, prepared, take, harm):
    claim = take()
    checkpoints.write(service, claim, claim.name, b"data")
    (row,) = rows(service, Checkpoint)
    if harm == "damaged":
        service.artifacts.write(row.key, b"date")
    else:
        service.artifacts.delete([row.key])
    assert checkpoints.read(service, claim, claim.name) is None


@pytest.mark.parametrize("which", ["version_id", "dataset_id"])
def test_a_check_makes_its_subject_ready_or_refuses_it(service, project, take, which):
    from auditor import queue

    table = Version if which == "version_id" else Dataset
    for outcome in ("ready", "refused"):
        subject = put_inputs(service, project, state="checking")[which == "dataset_id"]
        with service.database.transaction() as session:
            queue.put(session, project_id=project.id, kind="check", name="check", **{which: subject})
        claim = take()
        assert checks.check(service, claim).file.filename == ("digits.onnx" if table is Version else "digits.npz")
        if outcome == "ready":
            checks.checked(service, claim, {"classes": 10}, 0.1)
        else:
            items.refused(service, claim, "ModelError", "it is no model", 0.1)
        (row,) = rows(service, table, id=subject)
        assert row.state == outcome
        assert (row.facts, row.reason) == (
            ({"classes": 10}, None) if outcome == "ready" else (None, "it is no model")
        )
