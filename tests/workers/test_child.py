"""The engine in a child process: the command line's results to the bit, however it is cut, killed and gone on with."""

import shutil
import sys
import time
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from auditor import local, options, sandbox
from auditor.audits.checkpoints import Folder
from auditor.errors import OutOfTime
from auditor.report.document import read_report
from auditor.report.focus import summary
from auditor.request import settle
from auditor.workers.child_process import Child, ChildDied, ChildRefused
from tests.conftest import DEMO
from tests.graph.models import text

WORDS = {
    "examples": 24,
    "batch_size": 4,
    "threads": 1,
    "norm": ["Linf", "L2"],
    "eps": ["0.02,0.05,0.1,0.2", "0.25,0.5,1"],
    "attack": ["minimal-apgd", "pgd", "ddn", "fgsm"],
    "fail_under": ["Linf:0.05=0.5"],
}
OPEN = {"do": "open", "model": str(DEMO / "digits.onnx"), "data": str(DEMO / "digits.npz"), "words": WORDS}
FINISH = {"do": "finish", "id": "one", "started_at": "2026-01-01T00:00:00+00:00"}


class Worker:
    """Children that share a place for checkpoints, and what they told."""

    def __init__(self, folder):
        self.folder, self.place = folder, Folder(folder / "place")
        self.steps, self.children = [], []

    def child(self):
        """A function that has one child carry out commands."""
        child = Child(scratch=self.folder)
        self.children.append(child)

        def call(command, stop=lambda: False, silence=120.0, **callbacks):
            served = {"on_read": self.place.read, "on_write": self.place.write, "on_step": self.step} | callbacks
            return child.call(command, stop=stop, silence=silence, **served)

        return call

    def step(self, facts, arrays):
        self.steps.append((facts, arrays))


@pytest.fixture
def worker(tmp_path):
    worker = Worker(tmp_path)
    yield worker
    for child in worker.children:
        child.close()


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """One child for all tests that leave it alive."""
    worker = Worker(tmp_path_factory.mktemp("warm"))
    yield worker.child()
    worker.children[0].close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the same audit on the command line."""
    folder = tmp_path_factory.mktemp("child") / "whole"
    asked = options.request(WORDS | {"model": OPEN["model"], "data": OPEN["data"], "out": folder})
    local.audit(asked, settle(asked), lambda step: None)
    return folder


def results(folder):
    files = [sha256((folder / name).read_bytes()).hexdigest() for name in ("adversarial.npz", "outcomes.parquet")]
    return read_report(folder / "report.json").results_sha256, *files


def finished(call, folder):
    folder.mkdir()
    return call(FINISH | {"out": str(folder)})


def test_two_children_in_reverse_order_give_the_command_lines_bits(worker, whole, tmp_path):
    first, second = worker.child(), worker.child()
    opened = first(OPEN)
    again = second(OPEN)
    assert again | {"estimate": None} == opened | {"estimate": None}
    prepared = first({"do": "prepare"})
    for number, name in enumerate(reversed(prepared["items"])):
        (first, second)[number % 2]({"do": "attack", "item": name})
    answer = finished(second, tmp_path / "out")
    assert results(tmp_path / "out") == results(whole)
    report = read_report(whole / "report.json")
    assert answer["results_sha256"] == report.results_sha256
    assert answer["verdict"] == report.verdict != "none"
    assert answer["files"] == [
        *("adversarial.npz", "outcomes.parquet"),
        *("report.html", "report.json", "report.pdf"),
    ]
    assert opened["spec"] == report.audit.spec
    assert answer["summary"] == summary(report)
    assert [point["robust_accuracy"] for point in answer["points"]] == [
        point.robust_accuracy for curve in report.curves for point in curve.points
    ]


def test_every_step_is_told_with_what_is_known_by_then(worker, whole):
    call = worker.child()
    call(OPEN)
    prepared = call({"do": "prepare"})
    items = prepared["items"]
    for name in items:
        call({"do": "attack", "item": name})
    (_, sampled), *stages = worker.steps
    report = read_report(whole / "report.json")
    for name in ("index", "label", "predicted"):
        assert sampled[name].tolist() == getattr(report.dataset, name)
    assert prepared["examples"] == len(report.dataset.index)
    assert prepared["facts"]["plan"] == report.audit.plan
    assert prepared["facts"]["clean"]["accuracy"] == report.clean.accuracy
    slices = [facts for facts, _ in stages if facts["item"].startswith("slice")]
    for position, row in enumerate(report.stages):
        told = [facts for facts in slices if facts["position"] == position]
        assert {(facts["attack"], facts["norm"], facts["access"]) for facts in told} == {
            (row.attack, row.norm, row.access)
        }
        for column in ("tried", "broken", "claims", "refuted", "forwards", "backwards"):
            assert sum(facts[column] for facts in told) == getattr(row, column)
    assert all(not arrays for facts, arrays in stages if facts["item"].startswith("alone"))
    last = {facts["item"]: arrays for facts, arrays in stages if facts["item"].startswith("slice")}
    for curve in report.curves:
        columns = {
            name: np.concatenate([last[item][f"{curve.norm}/{name}"] for item in sorted(last)])
            for name in ("position", "distance", "status", "attack", "complete", "adversarial", "confidence")
        }
        assert columns["position"].tolist() == list(range(24))
        assert columns["status"].tolist() == curve.examples.status
        known = [None if np.isinf(distance) else distance for distance in columns["distance"].tolist()]
        assert known == curve.examples.distance
        assert [None if c < 0 else c for c in columns["adversarial"].tolist()] == curve.examples.adversarial
        assert [None if np.isinf(c) else c for c in columns["confidence"].tolist()] == curve.examples.confidence
        assert columns["complete"].all()


def killed_after(call, command, stages):
    """Has the command killed when so many stages have been told."""
    told = []
    with pytest.raises(ChildDied) as died:
        call(command, on_step=lambda facts, arrays: told.append(facts), stop=lambda: len(told) >= stages)
    assert died.value.stopped
    return told


def test_a_kill_inside_a_stage_costs_no_more_than_that_stage_and_changes_no_bit(worker, whole, tmp_path):
    call = worker.child()
    call(OPEN)
    items = call({"do": "prepare"})["items"]
    for stages in (1, 2):
        told = killed_after(call, {"do": "attack", "item": items[0]}, stages)
        call(OPEN)
    assert [facts["position"] for facts in told][:2] == [0, 1]
    written = []
    for name in items:
        call(
            {"do": "attack", "item": name},
            on_write=lambda name, data: (written.append(name), worker.place.write(name, data)),
        )
    stages = len(read_report(whole / "report.json").stages)
    assert written.count(items[0]) <= stages - 2
    assert [facts["position"] for facts, _ in worker.steps if facts.get("item") == items[0]] == list(range(stages))
    finished(call, tmp_path / "out")
    assert results(tmp_path / "out") == results(whole)


def test_a_damaged_checkpoint_is_work_to_do_again(worker, whole, tmp_path):
    call = worker.child()
    call(OPEN)
    items = call({"do": "prepare"})["items"]
    for name in items:
        call({"do": "attack", "item": name})
    worker.place.write(items[0], worker.place.read(items[0])[:-7])
    call({"do": "attack", "item": items[0]})
    finished(call, tmp_path / "out")
    assert results(tmp_path / "out") == results(whole)


def test_an_audit_that_was_stopped_ends_with_what_is_known(worker, tmp_path):
    call = worker.child()
    call(OPEN)
    items = call({"do": "prepare"})["items"]
    with pytest.raises(OutOfTime, match="time budget"):
        call({"do": "attack", "item": items[0], "seconds_left": 0.0})
    call({"do": "attack", "item": items[0], "seconds_left": 600.0})
    (tmp_path / "out").mkdir()
    call(FINISH | {"out": str(tmp_path / "out"), "stopped": "the time budget is used up"})
    report = read_report(tmp_path / "out" / "report.json")
    assert "the time budget is used up" in report.not_tested[0]
    assert all(0 < point.unfinished < 24 for curve in report.curves for point in curve.points)


def test_an_exception_of_the_worker_ends_the_child_and_comes_through(worker):
    class Lost(Exception):
        pass

    def lose(name, data):
        raise Lost

    call = worker.child()
    call(OPEN)
    with pytest.raises(Lost):
        call({"do": "prepare"}, on_write=lose)
    with pytest.raises(ChildRefused, match="no audit is open"):
        call({"do": "prepare"})


def test_a_second_audit_takes_the_place_of_the_first(worker):
    call = worker.child()
    first = call(OPEN)
    second = call(OPEN | {"words": WORDS | {"attack": ["fgsm"], "norm": ["L1"], "eps": ["1,2"], "fail_under": []}})
    assert second["subject_sha256"] != first["subject_sha256"]
    items = call({"do": "prepare"})["items"]
    assert [name for name in items if name.startswith("alone")] == ["alone-L1-fgsm"]


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        (OPEN | {"model": "/nowhere/model.onnx"}, "ModelError", "there is no model"),
        (OPEN | {"data": "/nowhere/data.npz"}, "DatasetError", "no file or folder"),
        (OPEN | {"words": WORDS | {"attack": ["magic"]}}, "SpecError", "no attack 'magic'"),
        ({"do": "check-model", "path": str(DEMO / "digits.npz"), "name": "x"}, "ModelError", "not ONNX"),
        ({"do": "check-dataset", "path": str(DEMO / "digits.onnx"), "name": "x"}, "DatasetError", "not read"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_child_lives_on(warm, command, kind, message):
    with pytest.raises(ChildRefused, match=message) as refused:
        warm(command)
    assert refused.value.kind == kind
    assert warm({"do": "check-dataset", "path": OPEN["data"], "name": "digits.npz"})["examples"] == 500


def test_words_cannot_name_files_of_the_machine(warm):
    secret = {"labels": "/etc/passwd", "preprocessor": "/etc/passwd", "baseline": "/etc/passwd", "out": "/etc"}
    assert warm(OPEN | {"words": WORDS | secret})["spec_sha256"] == warm(OPEN)["spec_sha256"]


@pytest.mark.skipif(sandbox.level() == 0, reason="this kernel has no Landlock")
def test_a_child_reads_nothing_outside_its_folder(worker, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for folder in (worker.folder, other):
        shutil.copy(OPEN["model"], folder / "model.onnx")
    call = worker.child()
    assert call({"do": "check-model", "path": str(worker.folder / "model.onnx"), "name": "own"})["classes"] == 10
    with pytest.raises((ChildDied, ChildRefused), match="Permission denied"):
        call({"do": "check-model", "path": str(other / "model.onnx"), "name": "another's"})


def test_what_a_model_is_is_told(warm):
    facts = warm({"do": "check-model", "path": OPEN["model"], "name": "digits.onnx"})
    assert (facts["classes"], facts["layout"], facts["scores"]) == (10, "NCHW", "probabilities")
    assert facts["gradient"] == {"covered": True, "obstacles": [], "substitutes": [], "remark": None}
    assert facts["cost"]["gradient_seconds"] > 0


def test_a_model_without_gradient_is_a_model_all_the_same(worker, tmp_path):
    (tmp_path / "hard.onnx").write_bytes(text("f (float[N,4] x) => (float[N,4] y) { y = Hardmax<axis=1>(x) }"))
    facts = worker.child()({"do": "check-model", "path": str(tmp_path / "hard.onnx"), "name": "hard.onnx"})
    assert not facts["gradient"]["covered"]
    assert "Hardmax" in facts["gradient"]["obstacles"][0]


@pytest.fixture
def endless(tmp_path):
    """A model that no run of ONNX Runtime comes back from."""
    body = """f (float[1,4] x) => (float[1,4] y) {
        y = Loop (trips, go, x) <body = g (int64 i, bool before, float[1,4] a) => (bool after, float[1,4] b) {
            after = Identity(before) b = Tanh(a) }> }"""
    path = tmp_path / "endless.onnx"
    path.write_bytes(text(body, trips=np.array(1 << 62), go=np.array(True)))
    return {"do": "check-model", "path": str(path), "name": "endless.onnx"}


def test_it_is_stopped_inside_onnx_runtime_within_a_second(worker, endless):
    call = worker.child()
    call({"do": "check-dataset", "path": OPEN["data"], "name": "warm"})
    began, wanted = time.monotonic(), 1.0
    with pytest.raises(ChildDied, match="its work is to stop") as died:
        call(endless, stop=lambda: time.monotonic() - began > wanted)
    assert died.value.stopped
    assert wanted < time.monotonic() - began < wanted + 1


def test_a_child_that_says_nothing_for_too_long_counts_as_dead(worker, endless):
    call = worker.child()
    call({"do": "check-dataset", "path": OPEN["data"], "name": "warm"})
    with pytest.raises(ChildDied, match=r"0\.5 seconds") as died:
        call(endless, silence=0.5)
    assert not died.value.stopped


def test_a_mistake_in_the_child_is_a_death_with_a_traceback(worker):
    call = worker.child()
    with pytest.raises(ChildDied, match=r"(?s)exit code 1\n.*KeyError: 'dance'") as died:
        call({"do": "dance"})
    assert not died.value.stopped


def test_texts_come_as_any_database_keeps_them(worker):
    np.savez(worker.folder / "odd.npz", x=np.zeros((3, 2), "f4"), y=np.array(["\ud800a", "b\0c", "d"]))
    facts = worker.child()({"do": "check-dataset", "path": str(worker.folder / "odd.npz"), "name": "odd.npz"})
    assert facts["class_names"] == ["b\ufffdc", "d", "?a"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_child_goes_first_when_memory_runs_out(worker):
    worker.child()({"do": "check-dataset", "path": OPEN["data"], "name": "warm"})
    pid = worker.children[0].start().pid
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"


@pytest.mark.parametrize(
    "message", [{"read": "../secret"}, {"write": "/etc/passwd"}, {"read": ["x"]}, {"write": ".hidden"}, {"dance": 1}]
)
def test_a_child_that_asks_for_what_it_must_not_is_killed(worker, message):
    call = worker.child()
    ended = []
    worker.children[0]._process = SimpleNamespace(
        pipe=SimpleNamespace(send=lambda facts: None, receive=lambda: (message, b"")),
        watch=lambda stop, silence: None,
        end=lambda: ended.append("killed") or "was ended",
    )
    with pytest.raises(ChildDied, match="killed for what it sent"):
        call({"do": "prepare"})
    assert ended
    assert not worker.place.path.exists()
