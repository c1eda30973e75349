"""Audits of models that may refuse, from the command line to the report: an affine one, whose answers are known."""

import json

import numpy as np
import pytest

from auditor import local, options
from auditor.audits.checkpoints import Folder
from auditor.audits.layout import checkpoints_of
from auditor.audits.prepare import Prepared, prepare
from auditor.errors import DatasetError, SpecError
from auditor.report.command import command as again
from auditor.report.schema import Report
from auditor.report.sections.summary import section
from auditor.request import settle
from tests.graph.models import text

# Two classes by the sign of a; rejected where b > 0.5, or, of `abstaining`, where class 2 wins: where b > 0.5 + |a|.
SIZE = ("--norm", "Linf", "--eps", "0.05,0.1,0.2", "--threads", 1, "--preset", "quick")
ROWS = np.array([[0.42, 0.2], [0.42, 0.55], [0.42, 0.48], [0.6, 0.9], [0.15, 0.1], [0.45, 0.2]], np.float32)
LABELS = np.array([0, 0, 0, 1, 0, 1])  # of the detector: right, rejected, right, rejected, right, wrong
DETECTING = (
    "f (float[N,2] x) => (float[N,2] scores, float[N,1] reject) "
    "{ s = MatMul(x, W) scores = Add(s, c) reject = MatMul(x, b) }"
)


@pytest.fixture
def detecting(tmp_path):
    """Class 0 where a < 0.5; rejected where b > 0.5."""
    weights = {"W": np.array([[-1, 1], [0, 0]]), "c": np.array([1, 0]), "b": np.array([[0], [1]])}
    data = text(DETECTING, **{name: array.astype(np.float32) for name, array in weights.items()})
    (tmp_path / "model.onnx").write_bytes(data)
    np.savez(tmp_path / "data.npz", x=ROWS, y=LABELS)
    return tmp_path / "model.onnx", tmp_path / "data.npz"


@pytest.fixture
def requested(detecting, tmp_path):
    model, data = detecting
    given = {
        "model": model,
        "data": data,
        "domain": "0,1",
        "threads": 1,
        "allow_chance": True,
        "out": tmp_path / "out",
    }
    size = {"norm": ["Linf"], "eps": ["0.05,0.1,0.2"], "preset": "quick", "output": "scores"}
    return lambda **words: options.request({**given, **size, **words})


def test_a_detector_must_be_evaded_and_its_false_alarms_count_as_wrong(command, detecting, tmp_path):
    words = (
        "--domain",
        "0,1",
        "--allow-chance",
        *SIZE,
        "--detector",
        "reject:0.5",
        "--out",
        tmp_path / "out",
        "--json",
    )
    answer = command("audit", *detecting, *words)
    assert answer.code == 0, answer.err
    assert "reject above 0.5 is a rejection" in " ".join(answer.err.split())
    report = json.loads(answer.out)
    place = np.argsort(report["dataset"]["index"])
    assert np.array(report["dataset"]["predicted"])[place].tolist() == [0, 2, 0, 2, 0, 0]
    assert report["clean"]["correct"] == 3
    assert report["model"]["classes"] == 2
    assert report["model"]["refusal"] == {
        "abstain": None,
        "detector": {"output": "reject", "threshold": 0.5},
        "answers": [2],
        "refused": 2,
        "accuracy_of_accepted": 0.75,
    }
    (curve,) = report["curves"]
    assert [point["robust_accuracy"] for point in curve["points"]] == [3 / 6, 1 / 6, 1 / 6]
    distance = dict(zip(curve["examples"]["id"], curve["examples"]["distance"], strict=True))
    assert [distance[row] for row in (1, 3, 5)] == [0, 0, 0]
    assert [distance[row] for row in (0, 2)] == pytest.approx([0.08, 0.08], abs=2e-3)
    with np.load(tmp_path / "out" / "adversarial.npz") as found:
        assert (found["x_adv"][:, 0] > 0.5).all()
        assert (found["x_adv"][:, 1] <= 0.5).all()
        assert set(found["predicted"].tolist()) == {1}
    shown = Report.model_validate(report)
    assert "--detector reject:0.5" in again(shown)
    assert "33.3 % of 6 clean examples" in repr(section(shown)).replace("\xa0", " ")


def test_a_detector_that_is_not_named_is_an_output_like_any_other(requested):
    blind = local.audit(requested(), settle(requested()), lambda step: None).report
    assert blind.clean.correct == 5
    assert blind.model.refusal is None


@pytest.mark.parametrize("attack", ["square", "hop-skip-jump", "apgd-ce", "fab"])
def test_attacks_of_every_access_evade(requested, attack):
    request = requested(detector="reject", attack=[attack], eps=["0.2"])
    report = local.audit(request, settle(request), lambda step: None).report
    assert report.curves[0].points[0].robust_accuracy == 1 / 6
    assert report.stages[0].refuted == 0


@pytest.mark.parametrize("unit", [1e-8, 1e6])
def test_a_detector_may_count_in_any_unit(unit, requested, tmp_path, monkeypatch):
    weights = {"W": np.array([[-1, 1], [0, 0]]), "c": np.array([1, 0]), "b": np.array([[0], [unit]])}
    data = text(DETECTING, **{name: array.astype(np.float32) for name, array in weights.items()})
    (tmp_path / "model.onnx").write_bytes(data)

    def left(out):
        request = requested(detector=f"reject:{0.5 * unit}", out=tmp_path / out)
        asked = settle(request)
        report = local.audit(request, asked, lambda step: None).report
        folder = Folder(tmp_path / out / ".auditor" / asked.subject.sha256)
        kept = Prepared.load(checkpoints_of(asked.subject.spec, folder))
        return [point.robust_accuracy for point in report.curves[0].points], kept.weight

    accuracy, weight = left("weighed")
    assert accuracy == [3 / 6, 1 / 6, 1 / 6]
    assert np.log2(weight) == pytest.approx(-np.log2(unit), abs=3)
    assert np.log2(weight) % 1 == 0
    if unit < 1:  # what such a detector adds to a score is lost in rounding
        monkeypatch.setattr("auditor.audits.prepare.balanced", lambda *given: 1.0)
        assert left("unweighed") == ([3 / 6, 3 / 6, 3 / 6], 1.0)


def abstaining():
    """Scores 0.5 - a, a - 0.5 and b - 0.5."""
    weights = {"W": np.array([[-1, 1, 0], [0, 0, 1]]), "c": np.array([0.5, -0.5, -0.5])}
    body = "f (float[N,2] x) => (float[N,3] y) { s = MatMul(x, W) y = Add(s, c) }"
    return text(body, **{name: array.astype(np.float32) for name, array in weights.items()})


def test_the_class_to_abstain_by_is_evaded_too(requested, tmp_path):
    (tmp_path / "abstaining.onnx").write_bytes(abstaining())
    x = np.array([[0.42, 0.2], [0.42, 0.5], [0.45, 0.7]], np.float32)  # right, right, refused
    np.savez(tmp_path / "three.npz", x=x, y=np.array([0, 0, 0]))
    words = {
        "model": tmp_path / "abstaining.onnx",
        "data": tmp_path / "three.npz",
        "output": None,
        "eps": ["0.05,0.3"],
    }
    request = requested(**words, abstain=2)
    report = local.audit(request, settle(request), lambda step: None).report
    held = dict(zip(report.curves[0].examples.id, report.curves[0].examples.distance, strict=True))
    assert report.model.refusal["refused"] == 1
    assert "--abstain 2" in again(report)
    # a > 0.5 and a - b > 0: the second one must lower b as well.
    assert [held[row] for row in range(3)] == pytest.approx([0.08, 0.08, 0], abs=2e-3)
    request = requested(**words)
    blind = local.audit(request, settle(request), lambda step: None).report
    held = dict(zip(blind.curves[0].examples.id, blind.curves[0].examples.distance, strict=True))
    assert held[1] == pytest.approx(0.04, abs=2e-3)  # where the model would have abstained


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"detector": "alarm"}, "no output 'alarm' to reject by; it has 'scores', 'reject'"),
        ({"detector": "scores"}, "holds the class scores"),
        ({"detector": "reject:much"}, "write OUTPUT or OUTPUT:THRESHOLD"),
        ({"abstain": 2}, "no class 2 to abstain by; the model's classes are 0 to 1"),
        ({"abstain": "two"}, "write the number of a class, such as 3"),
    ],
)
def test_what_does_not_refuse_is_said(requested, words, why):
    with pytest.raises(SpecError, match=why):
        settle(requested(**words))


def test_a_refusal_is_no_target(requested, tmp_path):
    (tmp_path / "abstaining.onnx").write_bytes(abstaining())
    words = {"model": tmp_path / "abstaining.onnx", "output": None, "abstain": 2}
    with pytest.raises(SpecError, match="class 2 is the one to abstain by"):
        settle(requested(**words, target=2))
    with pytest.raises(SpecError, match="no class 2 to aim at"):
        settle(requested(detector="reject", target=2))
    prepared = prepare(settle(requested(**words, target="random")).subject, allow_chance=True)
    assert np.array_equal(prepared.target, 1 - prepared.label)


def test_an_example_whose_label_is_the_refusal_has_no_robustness(requested, tmp_path):
    (tmp_path / "abstaining.onnx").write_bytes(abstaining())
    np.savez(tmp_path / "refused.npz", x=ROWS[:2], y=np.array([0, 2]))
    words = {"model": tmp_path / "abstaining.onnx", "data": tmp_path / "refused.npz", "output": None, "abstain": 2}
    with pytest.raises(DatasetError, match=r"1 examples of refused\.npz have the label 2"):
        prepare(settle(requested(**words)).subject)


def test_without_labels_what_is_refused_is_wrong_all_the_same(requested, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    prepared = prepare(settle(requested(data=tmp_path / "rows.npy", detector="reject")).subject)
    place = np.argsort(prepared.index)
    assert prepared.label[place].tolist() == [0, 0, 0, 1, 0, 0]
    assert prepared.right[place].tolist() == [True, False, True, False, True, True]


def test_with_a_target_only_the_target_counts_and_no_rejection(requested):
    request = requested(detector="reject", target=1)
    report = local.audit(request, settle(request), lambda step: None).report
    held = dict(zip(report.curves[0].examples.id, report.curves[0].examples.distance, strict=True))
    assert [held[row] for row in (0, 2)] == pytest.approx([0.08, 0.08], abs=2e-3)


def test_threats_beside_the_norms_must_evade_it_too(requested):
    """A point that is rejected breaks nothing and is not even claimed: row 2 is, in half of its noise."""
    request = requested(detector="reject", also=["noise"])
    report = local.audit(request, settle(request), lambda step: None).report
    (noise,) = report.other_threats
    assert noise.claims > 0
    assert noise.refuted == 0


def test_a_specification_file_says_the_same(tmp_path, requested, detecting):
    (tmp_path / "audit.yaml").write_text("abstain: 2\ndetector: reject:0.25\n")
    model, data = detecting
    words = {"model": model, "data": data, "abstain": None, "detector": None}
    asked = options.request(words, tmp_path / "audit.yaml")
    assert (
        asked.settings
        == requested(abstain=2, detector="reject:0.25", preset=None, threads=None, output=None).settings
    )
