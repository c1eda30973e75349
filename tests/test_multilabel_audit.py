"""Models of several labels at once, from the command line to the report."""

import json
import subprocess
import sys

import numpy as np
import pytest

from auditor import options
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.graph.upload import read_upload
from auditor.report.checker import checker
from auditor.report.schema import Report
from auditor.report.sections import labels as section
from auditor.request import settle
from tests.finished import run
from tests.graph.models import text

FEATURES, LABELS, N = 16, 3, 30
NAMES = ("cat", "dog", "bird")
DUAL = {"Linf": 1, "L2": 2, "L1": np.inf}
QUICK = {
    "domain": "none",
    "norm": ["Linf", "L2", "L1"],
    "eps": ["0.01,0.05,0.1,0.3", "0.05,0.2,0.5,1", "0.2,0.5,1,3"],
    "preset": "quick",
    "threads": 1,
    "attack": None,
    "batch_size": None,
    "examples": None,
}


class Case:
    """An affine model, examples, and what is known of them."""

    def __init__(self, folder, tail="y = Sigmoid(z)", labels=LABELS, names=NAMES):
        rng = np.random.default_rng(0)
        self.weights = rng.standard_normal((FEATURES, labels)).astype(np.float32)
        self.x = rng.standard_normal((N, FEATURES)).astype(np.float32)
        self.above = self.x @ self.weights
        self.y = (self.above > 0).astype(np.uint8)
        self.y[0] = 1 - self.y[0]  # an example whose labels are all wrong
        body = f"f (float[N,{FEATURES}] x) => (float[N,{labels}] y) {{ z = MatMul(x, W) {tail} }}"
        self.model, self.data = folder / "labels.onnx", folder / "labels.npz"
        self.model.write_bytes(_named(text(body, W=self.weights), names))
        self.save(self.y)

    def save(self, y):
        np.savez(self.data, x=self.x, **({} if y is None else {"y": y}))

    def nearest(self, norm, labels=slice(None)):
        """(n,) distances to the nearest plane of these labels."""
        size = np.linalg.norm(self.weights.astype(np.float64), ord=DUAL[norm], axis=0)
        return np.min((np.abs(self.above) / size)[:, labels], axis=1)

    def words(self, **words):
        return {"model": self.model, "data": self.data, **QUICK, **words}


def _named(data, names):
    import onnx

    model = onnx.load_from_string(data)
    if names:
        onnx.helper.set_model_props(model, {"names": json.dumps(list(names))})
    return model.SerializeToString()


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def accuracies(report, right, nearest):
    """The exact robust accuracy beside each of the report's."""
    for curve in report.curves:
        for point in curve.points:
            yield point.robust_accuracy, np.mean(right & (nearest(curve.norm) > point.value))


def test_every_label_must_hold_and_the_nearest_plane_decides(case, command, tmp_path):
    words = [
        word for norm, eps in zip(QUICK["norm"], QUICK["eps"], strict=True) for word in ("--norm", norm, "--eps", eps)
    ]
    out = tmp_path / "out"
    answer = command(
        "audit", case.model, case.data, "--out", out, "--domain", "none", "--preset", "quick", "--threads", 1, *words
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "3 labels at once" in answer.err
    report = Report.model_validate_json((out / "report.json").read_text())
    assert report.audit.spec["multilabel"] is True
    assert report.model.labels == {"count": 3, "names": list(NAMES), "threshold": 0.5}
    assert report.clean.correct == N - 1
    assert report.dataset.label == [int(row @ [1, 2, 4]) for row in case.y[report.dataset.index]]
    assert report.model.gradient["access"] == "white-box"
    right = np.arange(N) != 0
    for found, exact in accuracies(report, right, case.nearest):
        assert exact <= found <= exact + 1.5 / N
    with np.load(out / "adversarial.npz") as rows:
        given = rows["x_adv"] @ case.weights > 0
        assert rows["predicted"].tolist() == [int(row @ [1, 2, 4]) for row in given.astype(int)]
    page = (out / "report.html").read_text()
    assert "Label by label" in page
    assert "Class by class" not in page
    assert "cat" in page
    assert "--multilabel" in page
    script = tmp_path / "check_adversarial.py"
    script.write_bytes(checker(report))
    checked = subprocess.run(
        [sys.executable, script, case.model, out / "report.json", out / "adversarial.npz"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert "rows confirmed" in checked.stdout


@pytest.mark.parametrize("label", ["dog", "1", 1])
@pytest.mark.parametrize("tail", ["y = Sigmoid(z)", "y = Identity(z)"])
def test_a_label_alone_is_a_decision_between_two_classes(label, tail, tmp_path):
    case = Case(tmp_path, tail)
    ran = run(tmp_path / "out", **case.words(label=label, multilabel=False))
    report = ran.report
    assert (report.audit.spec["label"], report.model.classes) == (1, 2)
    assert report.dataset.label == case.y[report.dataset.index, 1].tolist()
    right = np.arange(N) != 0
    for found, exact in accuracies(report, right, lambda norm: case.nearest(norm, [1])):
        assert exact <= found <= exact + 1.5 / N
    assert any("other labels" in sentence for sentence in report.not_tested)


@pytest.mark.parametrize("labels", [1, 2, 10])
def test_any_number_of_labels_at_any_batch_size_gives_the_same(labels, tmp_path):
    case = Case(tmp_path, "y = Identity(z)", labels, names=())
    words = case.words(multilabel=True, norm=["L2"], eps=["0.05,0.2,0.5"], attack=["ddn", "square"])
    found = [run(tmp_path / str(batch), **{**words, "batch_size": batch}).report for batch in (2, 7)]
    distances = [report.curves[0].examples.distance for report in found]
    assert np.allclose(*(np.array(column, float) for column in distances), rtol=1e-3, equal_nan=True)
    for point, other in zip(*(report.curves[0].points for report in found), strict=True):
        assert point.robust_accuracy == other.robust_accuracy


def test_without_labels_the_models_own_sets_serve(case, tmp_path):
    case.save(None)
    words = case.words(multilabel=True, norm=["L2"], eps=["0.2"], attack=["ddn"])
    report = run(tmp_path / "out", **words).report
    assert report.clean.accuracy == 1
    assert report.dataset.label == [
        int(row @ [1, 2, 4]) for row in (case.above > 0).astype(int)[report.dataset.index]
    ]


def test_every_stage_and_every_threat_beside_the_norms_knows_of_sets(case, tmp_path):
    words = case.words(
        norm=["L2"],
        eps=["0.2,0.5"],
        attack=["pgd", "apgd-targeted", "fab-targeted", "fmn", "deepfool", "hop-skip-jump", "transfer-mi-fgsm"],
        also=["universal-L2"],
        surrogate=[str(case.model)],
        examples=10,
    )
    report = run(tmp_path / "out", **words).report
    alone = {row["attack"]: row for row in report.diagnosis.attacks}
    assert len(alone) == 7
    assert all(row["accuracy"][-1] < 1 for row in alone.values())
    (beside,) = report.other_threats
    assert beside.threat["kind"] == "universal"


def test_the_section_counts_what_is_taken_away_and_added(case, tmp_path):
    words = case.words(norm=["L2"], eps=["3"], attack=["ddn"])
    report = run(tmp_path / "out", **words).report
    _, table, sets = section.section(report).blocks
    changed = sum(int(cell) for row in table.rows for cell in row[3:])
    broken = [taken for taken, status in zip(report.curves[0].examples.adversarial, report.curves[0].examples.status, strict=True) if status == "broken"]  # fmt: skip
    flips = [a ^ b for a, b in zip(report.dataset.label, report.curves[0].examples.adversarial, strict=True) if b is not None]  # fmt: skip
    assert len(broken) == report.clean.correct
    assert changed == sum(flip.bit_count() for flip in flips)
    assert {row[0] for row in table.rows} == set(NAMES)
    assert sum(int(row[2]) for row in sets.rows) <= len(broken)
    assert all(cell.startswith("{") for row in sets.rows for cell in row[:2])


def test_columns_of_a_table_are_labels_in_the_models_order(case, tmp_path):
    heads = [*(f"f{k}" for k in range(FEATURES)), *reversed(NAMES)]
    rows = [[*map(float, x), *reversed(y.tolist())] for x, y in zip(case.x, case.y, strict=True)]
    table = tmp_path / "d.csv"
    table.write_text("\n".join(",".join(map(repr, row)).replace("'", "") for row in [heads, *rows]).replace("'", ""))
    words = {**case.words(norm=["L2"], eps=["0.2"]), "data": table, "label_column": "bird,dog,cat"}
    settled = settle(options.request({"out": tmp_path / "o", **words}))
    assert settled.subject.dataset.y.tolist() == [int(row @ [1, 2, 4]) for row in case.y]
    alone = settle(options.request({"out": tmp_path / "o", **words, "label": "cat"}))
    assert alone.subject.dataset.y.tolist() == case.y[:, 0].tolist()


def refused(error, match, **words):
    with pytest.raises(error, match=match):
        settle(options.request({"out": "out", **words}))


def test_what_does_not_fit_is_said(case, tmp_path):
    refused(SpecError, "--target is one class", **case.words(target=1))
    refused(SpecError, "no label 'cow'.*0 to 2, or cat, dog, bird", **case.words(label="cow"))
    refused(SpecError, "no label '3'", **case.words(label=3))
    refused(SpecError, "all labels at once, --label for one", **case.words(label="cat", multilabel=True))
    refused(SpecError, "for models of one answer", **case.words(multilabel=True, abstain=1))
    refused(SpecError, "where chance plays a part", **case.words(eot=["noise:0.05"]))
    refused(SpecError, "no surrogate trained", **case.words(norm=["L2"], eps=["1"], attack=["transfer"]))
    case.save(case.y[:, :2])
    refused(DatasetError, "2 labels for each example, and the model decides about 3", **case.words())
    refused(DatasetError, "2 labels for each example", **case.words(label="cat"))
    case.save(case.y[:, 0])
    refused(DatasetError, "1 labels for each example", **case.words(multilabel=True))
    case.save(np.full((N, LABELS), 0.3))
    refused(DatasetError, "zeros and ones of shape", **case.words())


def test_one_hot_labels_of_exclusive_classes_are_questioned(tmp_path):
    case = Case(tmp_path, "y = Identity(z)")
    case.save(np.eye(3, dtype=np.uint8)[np.arange(N) % 3])
    refused(DatasetError, "one-hot", **case.words())
    assert settle(options.request({"out": tmp_path / "o", **case.words(multilabel=True)})).subject.upload.multilabel
    case = Case(tmp_path, "y = Sigmoid(z)")  # decided one by one, whatever these examples have
    case.save(np.eye(3, dtype=np.uint8)[np.arange(N) % 3])
    assert settle(options.request({"out": tmp_path / "o", **case.words()})).subject.upload.multilabel


def test_more_labels_than_a_number_holds_and_labels_without_scores_are_refused():
    wide = text("f (float[N,2] x) => (float[N,54] y) { y = MatMul(x, W) }", W=np.ones((2, 54), np.float32))
    with pytest.raises(ModelError, match="54 labels, and at most 53"):
        read_upload(wide, multilabel=True)
    assert read_upload(wide, label=53).classes == 2
    best = text("f (float[N,2] x) => (int64[N] y) { z = MatMul(x, W) y = ArgMax<axis=1,keepdims=0>(z) }", W=np.ones((2, 3), np.float32))  # fmt: skip
    for choice in ({"multilabel": True}, {"label": 1}):
        with pytest.raises(ModelError, match="does not apply"):
            read_upload(best, **choice)


def test_inspect_tells_labels(case, command):
    assert "labels" in command("inspect", case.model, "--multilabel").out
    alone = json.loads(command("inspect", case.model, "--label", "bird", "--json").out)
    assert (alone["classes"], alone["multilabel"]) == (2, False)
