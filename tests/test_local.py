"""What an audit does between a request and a report: settle, resume, stop."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import auditor.audits.subject
from auditor import local, options, runtime
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.report.command import command
from auditor.report.document import read_report
from auditor.request import settle
from auditor.spec import Gate, exact
from tests.graph.models import text


@pytest.fixture
def requested(demo_model, demo_data, tmp_path):
    def request(**given):
        small = {
            "examples": 12,
            "batch_size": 4,
            "threads": 1,
            "norm": ["Linf"],
            "eps": ["0.05,0.1"],
            "attack": ["fgsm"],
        }
        paths = {"model": demo_model, "data": demo_data, "out": tmp_path / "out"}
        return options.request({name: value for name, value in (paths | small | given).items() if value is not None})

    return request


def ran(request):
    """The report, and how many stages were watched."""
    steps = []
    finished = local.audit(request, settle(request), steps.append)
    return finished.report, steps


def test_without_a_word_everything_is_chosen_and_said(demo_model, demo_data, tmp_path):
    asked = settle(options.request({"model": demo_model, "data": demo_data, "out": tmp_path}))
    spec = asked.subject.spec
    assert (spec.preset, spec.examples, spec.seed, spec.domain) == ("standard", 1000, 0, (0.0, 1.0))
    assert [threat.norm for threat in spec.threats] == ["Linf", "L2"]
    assert len(asked.chosen) >= 5


def test_settling_writes_nothing(requested, tmp_path):
    settle(requested())
    assert not list(tmp_path.iterdir())


def test_a_gates_eps_is_on_the_curve(requested):
    request = dataclasses.replace(requested(), gates=(Gate.parse("Linf:0.07=0.5"),))
    report, _ = ran(request)
    assert [point.eps for point in report.curves[0].points] == ["0.05", "0.07", "0.1"]
    assert report.gates[0].outcome in ("passed", "failed", "inconclusive")


def test_data_without_labels_are_audited_by_the_models_own_answers(requested, digits, tmp_path):
    np.save(tmp_path / "pixels.npy", digits[0])
    request = requested(data=tmp_path / "pixels.npy", domain="0,1")
    asked = settle(request)
    assert any("no labels" in sentence for sentence in asked.chosen)
    report, _ = ran(request)
    assert report.clean.accuracy == 1
    assert "stability" in report.dataset.sampling["labels"]


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_model_that_gives_only_labels_is_attacked_and_judged_by_them(keepdims, requested, tmp_path):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 3)).astype(np.float32), rng.random((12, 6), dtype=np.float32)
    shape = "N,1" if keepdims else "N"
    body = f"f (float[N,6] x) => (int64[{shape}] y) {{ z = MatMul(x, W) y = ArgMax<axis=1,keepdims={keepdims}>(z) }}"
    (tmp_path / "labels.onnx").write_bytes(text(body, W=weight))
    np.savez(tmp_path / "data.npz", x=x, y=np.argmax(x @ weight, axis=1))
    request = requested(
        model=tmp_path / "labels.onnx", data=tmp_path / "data.npz", domain="0,1", attack=["minimal-apgd"], eps=["0.5"]
    )
    report, _ = ran(request)
    assert report.clean.correct == 12
    assert report.model.gradient["access"] == "white-box"
    assert report.curves[0].points[0].robust_accuracy == 0
    with np.load(request.out / "adversarial.npz") as found:
        assert (np.argmax(found["x_adv"] @ weight, axis=1) == found["predicted"]).all()
        assert (found["predicted"] != found["label"]).all()


@pytest.mark.parametrize(("norm", "attack"), [("Linf", "rays"), ("L2", "hop-skip-jump")])
def test_a_model_without_gradients_that_gives_only_labels_gets_a_curve(norm, attack, requested, tmp_path):
    """Steps so fine that the model is nearly linear, whose exact distances are known."""
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 3)).astype(np.float32), rng.random((30, 6), dtype=np.float32)
    body = (
        "f (float[N,6] x) => (int64[N] y) { s = Mul(x, many) i = Cast<to=7>(s) w = BitwiseXor(i, nothing) "
        "f = Cast<to=1>(w) z = MatMul(f, W) y = ArgMax<axis=1,keepdims=0>(z) }"
    )
    constants = {"many": np.float32(4096), "nothing": np.array(0)}
    (tmp_path / "labels.onnx").write_bytes(text(body, opset=18, W=weight, **constants))
    y = np.argmax(np.floor(x * 4096) @ weight, axis=1)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    request = requested(
        model=tmp_path / "labels.onnx", data=tmp_path / "data.npz", domain="none", preset="quick", attack=None,
        norm=[norm], eps=["0.001,0.03,0.1,0.3,3"], examples=30,
    )  # fmt: skip
    assert any("gives labels only" in sentence for sentence in settle(request).chosen)
    report, _ = ran(request)
    assert report.model.gradient["access"] == "decision"
    assert {(stage.attack, stage.access) for stage in report.stages} == {(attack, "decision")}
    assert "score-based attacks" in report.not_tested
    gaps = (x @ weight)[np.arange(30), y, None] - x @ weight
    slopes = np.linalg.norm(weight.T[y][:, None] - weight.T[None], 1 if norm == "Linf" else 2, axis=2)
    exact = np.min(np.where(slopes > 0, gaps / np.where(slopes > 0, slopes, 1), np.inf), axis=1)
    found = np.array(report.curves[0].examples.distance)
    nearest = exact[np.array(report.dataset.index)]
    assert (found >= nearest - 0.002).all()
    assert np.median(found / nearest) < 1.2
    accuracy = [point.robust_accuracy for point in report.curves[0].points]
    assert accuracy[0] > 0.9
    assert accuracy[-1] == 0


def noisy(folder):
    """A classifier that adds noise to its input, and data of its own."""
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 3)).astype(np.float32), rng.random((12, 6), dtype=np.float32)
    body = "f (float[N,6] x) => (float[N,3] y) { n = RandomNormalLike<scale=0.05>(x) d = Add(x, n) y = MatMul(d, W) }"
    (folder / "noisy.onnx").write_bytes(text(body, W=weight))
    np.savez(folder / "data.npz", x=x, y=np.argmax(x @ weight, axis=1))
    return {"model": folder / "noisy.onnx", "data": folder / "data.npz", "domain": "0,1"}


def test_a_randomised_model_is_attacked_in_the_mean_and_gives_the_same_bits_again(requested, tmp_path):
    given = noisy(tmp_path) | {"attack": ["pgd", "square"], "eps": ["0.3"], "draws": 4}
    assert any("means over 4 draws" in sentence for sentence in settle(requested(**given)).chosen)
    report, _ = ran(requested(**given))
    assert report.results_sha256 == ran(requested(**given, out=tmp_path / "again"))[0].results_sha256
    assert report.curves[0].points[0].robust_accuracy < 0.5
    assert {stage.forwards % 4 for stage in report.stages} == {0}


def test_draws_of_a_model_that_never_differs_are_a_mistake(requested):
    with pytest.raises(SpecError, match="no random node"):
        settle(requested(draws=4))


def test_a_point_must_survive_what_is_done_to_inputs_before_the_model(requested, tmp_path):
    """Class 1 where the first feature is above 0.5. Behind noise of 0.1 the examples at 0.42 take a move to 0.58 or so
    until draws are surely turned, not to 0.5."""
    body = "f (float[N,2] x) => (float[N,2] y) { z = MatMul(x, W) y = Sub(z, t) }"
    weights = {"W": np.array([[0, 1], [0, 0]], np.float32), "t": np.array([0, 0.5], np.float32)}
    (tmp_path / "step.onnx").write_bytes(text(body, **weights))
    x = np.array([[0.42, 0.2 + i / 20] for i in range(8)] + [[0.9, 0.1]], np.float32)
    np.savez(tmp_path / "step.npz", x=x, y=(x[:, 0] > 0.5).astype(np.int64))
    given = {
        "model": tmp_path / "step.onnx",
        "data": tmp_path / "step.npz",
        "domain": "0,1",
        "eps": ["0.09,0.13,0.3"],
    }
    given |= {"attack": ["minimal-apgd"], "draws": 8}
    alone, _ = ran(requested(**given | {"draws": None, "out": tmp_path / "alone"}))
    served, _ = ran(requested(**given, eot=["noise:0.1"]))
    left = [[point.robust_accuracy for point in report.curves[0].points] for report in (alone, served)]
    assert left[0] == [1 / 9, 1 / 9, 1 / 9]
    assert left[1][0] == 1
    assert left[1][2] < 0.3
    assert served.model.randomness["transformations"] == ["noise:0.1"]
    assert 0.5 < served.model.randomness["expected_accuracy"] < 1
    assert "--eot noise:0.1" in command(served)


def test_what_is_finished_is_not_run_again(requested, monkeypatch):
    first, steps = ran(requested())
    monkeypatch.setattr(local.Engine, "run", lambda *given: pytest.fail("a finished stage was run again"))
    second, again = ran(requested())
    assert len(again) == len(steps)
    assert second.results_sha256 == first.results_sha256


@pytest.mark.parametrize("change", ["version", "machine", "stages"])
def test_what_another_version_or_machine_found_is_not_mixed_in(requested, monkeypatch, change):
    before = settle(requested()).subject.sha256
    if change == "version":
        monkeypatch.setattr(auditor.audits.subject, "__version__", "0.0.1")
    elif change == "machine":
        monkeypatch.setattr(runtime, "fingerprint", lambda device: {"machine": "another"})
    else:
        monkeypatch.setattr(auditor.audits.subject, "chosen_stages", lambda spec, **named: [])
    assert settle(requested()).subject.sha256 != before


def test_what_other_preprocessing_found_is_not_mixed_in(requested, digits, tmp_path):
    (tmp_path / "digits").mkdir()
    for number, pixels in enumerate(digits[0][:4]):
        image = Image.fromarray(np.uint8(255 * pixels.reshape(8, 8)))
        image.save(tmp_path / "digits" / f"{number}.png")
    keys = {
        settle(requested(data=tmp_path / "digits", **declared)).subject.sha256
        for declared in (
            {},
            {"resize": "16,16", "crop": "8"},
            {"resize": "16,16", "crop": "8", "interpolation": "box"},
        )
    }
    assert len(keys) == 3


def test_an_interrupted_audit_is_reported_as_bounds(requested):
    request = requested(attack=["fgsm", "pgd"])

    def stop(step):
        raise KeyboardInterrupt

    finished = local.audit(request, settle(request), stop)
    assert finished.interrupted
    assert "interrupted" in finished.report.not_tested[0]
    status = finished.report.curves[0].examples.status
    assert "not_tried" in status
    whole, _ = ran(request)
    assert "not_tried" not in whole.curves[0].examples.status


def test_an_unfinished_audit_passes_no_gate(requested):
    request = dataclasses.replace(requested(attack=["fgsm", "pgd"]), gates=(Gate.parse("Linf:0.05=0.01"),))

    def stop(step):
        raise KeyboardInterrupt

    assert local.audit(request, settle(request), stop).report.verdict != "passed"


def test_bounds_bracket_what_the_whole_audit_finds(requested):
    cut, _ = ran(requested(budget="1passes", attack=["fgsm", "pgd"]))
    whole, _ = ran(requested(attack=["fgsm", "pgd"]))
    for part, known in zip(cut.curves[0].points, whole.curves[0].points, strict=True):
        open_share = part.unfinished / cut.clean.total
        assert part.robust_accuracy - open_share <= known.robust_accuracy <= part.robust_accuracy


def test_the_report_says_where_its_numbers_come_from(requested, tmp_path):
    report, _ = ran(requested())
    assert report == read_report(tmp_path / "out" / "report.json")
    assert report.audit.plan["batch"] == 4
    assert report.audit.fingerprint["onnxruntime"] == report.audit.versions["onnxruntime"]
    assert [exact(point.eps) for point in report.curves[0].points] == [exact("0.05"), exact("0.1")]
    stage = report.stages[0]
    assert stage.tried == report.clean.correct
    assert stage.forwards >= stage.backwards > 0


def test_the_report_says_which_class_is_taken_for_which_and_how_surely(requested):
    report, _ = ran(requested())
    rows = report.curves[0].examples
    for status, label, adversarial, confidence in zip(
        rows.status, report.dataset.label, rows.adversarial, rows.confidence, strict=True
    ):
        assert (adversarial is None) == (confidence is None) == (status != "broken")
        assert adversarial is None or (adversarial != label and 0.1 <= confidence <= 1)
    assert all(0.1 <= share <= 1 for share in report.dataset.confidence)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"model": "nowhere.onnx"}, ModelError, "no model at nowhere.onnx"),
        ({"data": "nowhere.npz"}, DatasetError, "no file or folder nowhere.npz"),
        ({"attack": ["magic"]}, SpecError, "no attack 'magic'"),
        ({"quantize": 17}, SpecError, "--quantize 17 is no number of bits"),
        ({"quantize": "eight"}, SpecError, "--quantize eight"),
        ({"baseline": "nowhere.json"}, SpecError, "nowhere.json cannot be read"),
    ],
)
def test_what_cannot_be_settled_says_so(requested, given, error, words):
    with pytest.raises(error, match=words):
        settle(requested(**given))


def test_inputs_in_whole_levels_give_adversarial_examples_in_whole_levels(requested, tmp_path):
    given = {
        "quantize": 8,
        "norm": ["Linf", "L2"],
        "eps": ["1/510,20/255,30/255", "0.5,1"],
        "preset": "quick",
        "attack": None,
    }
    report, _ = ran(requested(**given))
    found = np.load(tmp_path / "out" / "adversarial.npz")
    levels = found["x_adv"] * 255
    assert len(levels) > 5
    assert np.array_equal((np.rint(levels) / 255).astype(np.float32), found["x_adv"])
    linf = found["distance"][found["norm"] == "Linf"] * 255
    assert np.allclose(linf, np.rint(linf), atol=1e-9)
    assert any("below one grey level" in remark for remark in report.curves[0].remarks)
    assert report.audit.spec["quantize"] == 8
    assert not any("--quantize" in said for said in report.not_tested)


def test_clean_examples_between_levels_end_the_audit(requested):
    with pytest.raises(DatasetError, match="none of the 16 levels"):
        ran(requested(quantize=4))
