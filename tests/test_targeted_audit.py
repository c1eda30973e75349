"""Audits with a target, from the command line to the report."""

import json

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from auditor import local, options
from auditor.audits.estimate import estimate
from auditor.audits.goal import ASKED, targets
from auditor.audits.prepare import prepare
from auditor.data.sampling import sample
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.request import settle
from tests.graph.models import text

SMALL = {"examples": 40, "threads": 1, "norm": ["Linf"], "eps": ["0.02,0.1,0.4"], "preset": "quick"}


@pytest.fixture
def requested(demo_model, demo_data, tmp_path):
    return lambda **words: options.request(
        {"model": demo_model, "data": demo_data, "out": tmp_path / "out", **SMALL, **words}
    )


@pytest.fixture
def labels_only(tmp_path):
    """A model of five classes that tells only which, and of whose examples some lie in each."""
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 5)).astype(np.float32), rng.random((200, 6), dtype=np.float32)
    weight[5] -= weight.sum(axis=0)  # so that no class has most of the box
    body = (
        "f (float[N,6] x) => (int64[N] y) "
        "{ s = Mul(x, many) z = MatMul(s, W) f = Floor(z) y = ArgMax<axis=1,keepdims=0>(f) }"
    )
    (tmp_path / "labels.onnx").write_bytes(text(body, W=weight, many=np.float32(4096)))
    y = np.argmax(np.floor((x * np.float32(4096)) @ weight), axis=1)
    np.savez(tmp_path / "labels.npz", x=x, y=y)
    return {"model": tmp_path / "labels.onnx", "data": tmp_path / "labels.npz", "domain": "0,1"}


def predicted(model, x):
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0].argmax(axis=1)


def test_only_the_target_counts_and_its_own_examples_are_left_out(command, demo_model, demo_data, digits, tmp_path):
    words = ("--examples", 40, "--threads", 1, "--norm", "Linf", "--eps", "0.02,0.1,0.4", "--preset", "quick")
    answer = command("audit", demo_model, demo_data, "--out", tmp_path, *words, "--target", 0, "--json")
    report = json.loads(answer.out)
    (curve,) = report["curves"]
    assert (curve["threat"]["goal"], curve["threat"]["target"]) == ("targeted", 0)
    assert report["dataset"]["target"] == [0] * 40
    assert 0 not in report["dataset"]["label"]
    assert report["dataset"]["index"] == [i for i in sample(500, 500, 0) if digits[1][i] != 0][:40]
    assert "examples of class 0" in report["dataset"]["sampling"]["left_out"]
    assert any("towards" not in s and "must reach class 0" in s for s in report["not_tested"])
    assert "must reach class 0" in answer.err
    assert curve["points"][-1]["robust_accuracy"] == 0
    with np.load(tmp_path / "adversarial.npz") as found:
        assert len(found["x_adv"]) == report["clean"]["correct"]
        assert not found["predicted"].any()
        assert not predicted(demo_model, found["x_adv"]).any()
    made = {check["check"]: check["message"] for check in report["diagnosis"]["checks"]}
    assert "not made" in made["half-domain-accuracy"]
    assert "not made" in made["saturated-softmax"]
    assert "not made" not in made["loss-not-converged"]


def test_the_terminal_says_towards_what(command, demo_model, demo_data, tmp_path):
    words = ("--examples", 8, "--threads", 1, "--norm", "Linf", "--eps", "0.1", "--attack", "fgsm")
    out = command("audit", demo_model, demo_data, "--out", tmp_path, *words, "--target", "random").out
    assert "towards one random class each, no other counts" in " ".join(out.split())


def test_a_random_target_is_another_class_for_each_example_whatever_else_is_audited(requested, demo_model):
    request = requested(target="random")
    report = local.audit(request, settle(request), lambda step: None).report
    target, label = np.array(report.dataset.target), np.array(report.dataset.label)
    assert (target != label).all()
    assert len(set(target.tolist())) > 5
    assert prepare(settle(requested(target="random", examples=20)).subject).target.tolist() == target[:20].tolist()
    assert prepare(settle(requested(target="random", seed=1)).subject).target.tolist() != target.tolist()
    with np.load(request.out / "adversarial.npz") as found:
        wanted = dict(zip(report.dataset.index, target.tolist(), strict=True))
        assert predicted(demo_model, found["x_adv"]).tolist() == [wanted[i] for i in found["index"].tolist()]
    assert pq.read_table(request.out / "outcomes.parquet")["target"].to_pylist() == target.tolist()


def test_random_targets_are_even(requested):
    spec = settle(requested(target="random")).subject.spec
    index = np.arange(6000)
    drawn = targets(spec, 4, index, index % 4)
    counts = np.array([[np.sum(drawn[index % 4 == y] == t) for t in range(4)] for y in range(4)])
    assert not counts.diagonal().any()
    assert np.abs(counts[~np.eye(4, dtype=bool)] - 500).max() < 100


def test_without_labels_what_the_model_puts_there_already_is_left_out(requested, digits, tmp_path):
    np.save(tmp_path / "pixels.npy", digits[0])
    prepared = prepare(settle(requested(data=tmp_path / "pixels.npy", domain="0,1", target=3)).subject)
    assert 3 not in prepared.label
    assert 30 < len(prepared.index) < 40
    assert len(prepared.digests) == len(prepared.index)


def test_decisions_begin_at_the_nearest_example_that_the_model_puts_there(requested, labels_only):
    request = requested(**labels_only, target="random", norm=["L2"], eps=["0.01,0.1,0.3"])
    subject = settle(request).subject
    prepared = prepare(subject)
    assert [s.attack for s in prepared.plan.stages if s.access == "decision"] == ["hop-skip-jump"]
    y, started = subject.dataset.y, prepared.start >= 0
    assert started.sum() > 20
    assert np.array_equal(y[prepared.start[started]], prepared.target[started])
    x = subject.dataset.fetch(np.arange(200))
    for row in np.flatnonzero(started)[:5]:
        pool = [i for i in sample(200, 200, 0) if y[i] == prepared.target[row]][:16]
        apart = np.linalg.norm(x[pool] - x[prepared.index[row]], axis=1)
        assert prepared.start[row] == pool[np.argmin(apart)]
    report = local.audit(request, settle(request), lambda step: None).report
    held = np.array(report.curves[0].examples.distance, dtype=float)
    assert np.all(held[started] < np.linalg.norm(x[prepared.start] - x[prepared.index], axis=1)[started])


def test_without_labels_such_examples_are_looked_for_among_the_first_of_the_sample(requested, labels_only, tmp_path):
    with np.load(labels_only["data"]) as data:
        np.save(tmp_path / "only.npy", data["x"])
        y = data["y"]
    words = labels_only | {"data": tmp_path / "only.npy", "target": 2, "norm": ["L2"], "eps": ["0.1"]}
    prepared = prepare(settle(requested(**words)).subject)
    assert len(y) < ASKED
    assert set(y[prepared.start].tolist()) == {2}


def test_what_enumerates_classes_aims_at_one(requested):
    def at_most(**words):
        return estimate(settle(requested(preset="standard", **words)).subject.spec, examples=1, classes=10)

    saved = at_most()["passes_at_most"] - at_most(target=3)["passes_at_most"]
    assert saved >= 2 * 8 * 62 * 2  # minimal-norm APGD towards eight classes more, in the cascade and alone


def test_class_0_in_a_yaml_file_is_a_target(tmp_path, demo_model, demo_data):
    (tmp_path / "audit.yaml").write_text("target: 0\n")
    asked = {"model": demo_model, "data": demo_data, "target": None}
    assert settle(options.request(asked, tmp_path / "audit.yaml")).subject.spec.target == 0


@pytest.mark.parametrize("target", ["x", "-1", "1.5", "", "12345678901"])
def test_a_target_that_is_no_class_is_refused(target, requested):
    with pytest.raises(SpecError, match="write the number of a class"):
        requested(target=target)


def test_a_class_that_the_model_does_not_know_is_refused(requested):
    with pytest.raises(SpecError, match="classes are 0 to 9"):
        settle(requested(target=10))


def test_a_model_of_one_class_is_refused_whatever_the_target(requested, tmp_path):
    body = "f (float[N,4] x) => (int64[N] y) { z = MatMul(x, W) y = ArgMax<axis=1,keepdims=0>(z) }"
    (tmp_path / "one.onnx").write_bytes(text(body, W=np.ones((4, 1), np.float32)))
    np.savez(tmp_path / "one.npz", x=np.zeros((3, 4), np.float32), y=np.zeros(3, np.int64))
    with pytest.raises(ModelError, match="classes"):
        settle(requested(model=tmp_path / "one.onnx", data=tmp_path / "one.npz", domain="0,1", target=1))


@pytest.mark.parametrize("words", [{"also": ["fog"]}, {"preset": "autoattack"}])
def test_what_knows_no_target_is_refused(words, requested):
    with pytest.raises(SpecError, match="leave --"):
        settle(requested(target=1, **words))


def test_data_of_the_target_alone_are_refused(requested, digits, tmp_path):
    x, y = digits
    np.savez(tmp_path / "threes.npz", x=x[y == 3], y=y[y == 3])
    with pytest.raises(DatasetError, match="every example"):
        settle(requested(data=tmp_path / "threes.npz", domain="0,1", target=3))
