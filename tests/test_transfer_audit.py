"""Surrogates in an audit, from the command line to the report."""

import json
import re

import numpy as np
import onnxruntime
import pytest

from auditor import options
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.estimate import estimate
from auditor.audits.prepare import Prepared, prepare, prepare_once
from auditor.audits.presets import chosen_stages
from auditor.audits.run import Engine
from auditor.audits.surrogates import POOL, build_surrogate, spare
from auditor.data.sampling import sample
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.request import settle
from auditor.spec import Normalisation, spec_sha256
from tests.graph.models import convolution, linear, text

SMALL = ("--examples", 60, "--threads", 1, "--norm", "Linf", "--eps", "0.05,0.2,0.4")


@pytest.fixture
def ridge(digits, tmp_path):
    """A linear classifier of the digits that are not audited, fitted by least squares."""
    x, y = digits
    w = np.linalg.lstsq(x.reshape(500, 64) + 1e-3, np.eye(10)[y], rcond=0.01)[0].astype(np.float32)
    path = tmp_path / "ridge.onnx"
    body = "f (float[N,1,8,8] x) => (float[N,10] y) { f = Flatten(x) y = MatMul(f, W) }"
    path.write_bytes(text(body, W=w))
    return path


@pytest.fixture
def audit(command, demo_model, demo_data, tmp_path):
    return lambda *words: command("audit", demo_model, demo_data, "--out", tmp_path / "out", *SMALL, *words)


def test_a_named_surrogate_breaks_the_model_and_the_report_says_how_far_it_led(audit, ridge, tmp_path, demo_model):
    report = json.loads(
        audit("--surrogate", ridge, "--attack", "transfer", "--attack", "transfer-ni-fgsm", "--json").out
    )
    assert [s["name"] for s in report["surrogates"]] == ["ridge.onnx"]
    assert [(s["attack"], s["access"]) for s in report["stages"]] == [
        ("transfer", "transfer"),
        ("transfer-ni-fgsm", "transfer"),
    ]
    (first, _), right = report["stages"], report["clean"]["correct"]
    assert first["backwards"] > first["queries"] >= right
    for row in (first, report["diagnosis"]["attacks"][0]):
        top = row["crossings"][-1]
        assert (top["eps"], top["tried"]) == ("0.4", right)
        assert 0 < top["both"] <= min(top["fooled"], top["broken"]) <= top["tried"]
        assert row["queries"] == sum(at["tried"] for at in row["crossings"])
    alone = report["diagnosis"]["attacks"][0]
    assert alone["accuracy"][-1] == pytest.approx(1 - alone["crossings"][-1]["broken"] / right)
    assert not any("transfer" in sentence for sentence in report["not_tested"])
    session = onnxruntime.InferenceSession(demo_model.read_bytes(), providers=["CPUExecutionProvider"])
    with np.load(tmp_path / "out" / "adversarial.npz") as found:
        assert set(found["attack"]) <= {"transfer", "transfer-ni-fgsm"}
        for x_adv, label in zip(found["x_adv"], found["label"], strict=True):
            assert session.run(None, {"image": x_adv[None]})[0].argmax() != label


def test_the_terminal_says_how_far_a_surrogate_led(audit, ridge):
    out = audit("--surrogate", ridge, "--attack", "transfer-mi-fgsm").out
    assert re.search(
        r"Linf transfer-mi-fgsm alone, through a surrogate, at eps 0\.4: broke \d+ of \d+, \d+ of the \d+ on", out
    )


@pytest.mark.parametrize("words", [(), ("--quantize", 8)])
def test_a_layer_inside_a_surrogate_is_followed_and_its_passes_count(words, audit, ridge):
    report = json.loads(
        audit("--surrogate", ridge, "--attack", "transfer-ila", "--budget", "10m", *words, "--json").out
    )
    (row,) = report["stages"]
    assert row["backwards"] == 22 * row["queries"]
    assert row["crossings"][-1]["both"] > 0


@pytest.mark.parametrize(("attack", "gradients"), [("transfer-mi-fgsm", 10), ("transfer-ila", 22)])
def test_a_surrogate_is_followed_in_the_mean_over_what_is_done_to_inputs(attack, gradients, audit, ridge):
    words = ("--eot", "shift:1", "--draws", 3, "--budget", "10m", "--json")
    report = json.loads(audit("--surrogate", ridge, "--attack", attack, *words).out)
    (row,) = report["stages"]
    assert row["queries"] % 3 == 0
    assert row["backwards"] == gradients * row["queries"]
    assert row["crossings"][-1]["both"] > 0


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        ({"preset": "quick"}, ["minimal-apgd", "square", "transfer"]),
        ({"attack": ["fgsm"]}, ["fgsm", "transfer"]),
        ({"attack": ["transfer-bsr", "fgsm"]}, ["transfer-bsr", "fgsm"]),
    ],
)
def test_a_surrogate_that_is_named_is_followed(words, stages, asked, ridge):
    found = chosen_stages(asked(ridge, norm=["Linf"], eps=["0.1"], **words).subject.spec)
    assert [stage.name for stage in found] == stages


def test_the_same_audit_gives_the_same_results_and_another_surrogate_is_another_audit(audit, ridge, tmp_path):
    given = ("--surrogate", ridge, "--attack", "transfer-admix", "--json")
    first = json.loads(audit(*given).out)
    (tmp_path / "out").rename(tmp_path / "before")
    again = json.loads(audit(*given, "--surrogate", ridge).out)
    assert again["audit"]["spec_sha256"] != first["audit"]["spec_sha256"]
    (tmp_path / "out").rename(tmp_path / "twice")
    assert json.loads(audit(*given).out)["results_sha256"] == first["results_sha256"]


@pytest.fixture
def asked(demo_model, demo_data, ridge, tmp_path):
    def ask(*surrogates, **words):
        given = {"model": demo_model, "data": demo_data, "out": tmp_path, "surrogate": [str(s) for s in surrogates]}
        return settle(options.request({**given, **words}))

    return ask


def test_a_surrogate_that_draws_at_random_begins_anew_for_each_work(asked, digits, tmp_path):
    body = "f (float[N,1,8,8] x) => (float[N,10] y) { f = Flatten(x) z = MatMul(f, W) r = RandomNormalLike(z) y = Add(z, r) }"
    (tmp_path / "noisy.onnx").write_bytes(text(body, W=np.ones((64, 10), np.float32)))
    subject = asked(tmp_path / "noisy.onnx", examples=20, norm=["Linf"], eps=["0.1"], threads=1).subject
    engine, x = Engine(subject, prepare(subject)), digits[0][:4]
    first, again = (engine.fitting(lambda _: engine.surrogate.classifier.logits(x)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, engine.surrogate.classifier.logits(x))


def test_each_surrogate_has_its_own_normalisation(asked, ridge, digits):
    subject = asked(ridge, f"{ridge}:mean=0.25:std=0.5").subject
    assert [s.normalisation for s in subject.spec.surrogates] == [None, Normalisation(mean=(0.25,), std=(0.5,))]
    x = digits[0][:4]
    plain, scaled, both = (
        build_surrogate(asked(*given).subject, None, batch=4, threads=1).classifier.logits(x)
        for given in ([ridge], [f"{ridge}:mean=0.25:std=0.5"], [ridge, f"{ridge}:mean=0.25:std=0.5"])
    )
    shifted = build_surrogate(asked(ridge).subject, None, batch=4, threads=1).classifier.logits(
        (x - 0.25) / np.float32(0.5)
    )
    assert scaled == pytest.approx(shifted, abs=1e-5)
    assert both == pytest.approx((plain + scaled) / 2, abs=1e-5)


def test_what_may_be_mixed_in_is_not_audited(asked):
    for examples, left in ((500, 0), (450, 50), (100, POOL)):
        subject = asked(examples=examples).subject
        index = spare(subject.dataset, subject.spec, POOL)
        assert len(index) == left
        assert not set(index) & set(sample(subject.dataset.size, examples, subject.spec.seed))


@pytest.mark.parametrize(
    ("surrogate", "message"),
    [
        (linear(), "takes examples of shape"),
        (text("f (float[N,1,8,8] x) => (float[N,64] y) { y = Flatten(x) }"), "tells 64 classes apart, the model 10"),
        (convolution(), "takes examples of shape"),
    ],
)
def test_a_model_that_cannot_stand_in_is_refused(asked, tmp_path, surrogate, message):
    (tmp_path / "other.onnx").write_bytes(surrogate)
    with pytest.raises((ModelError, SpecError), match=message):
        asked(tmp_path / "other.onnx")


def test_without_a_name_a_surrogate_is_trained_on_what_is_not_audited(audit):
    report = json.loads(audit("--attack", "transfer", "--json", "--examples", 400).out)
    (surrogate,) = report["surrogates"]
    assert surrogate["agreement"] > 0.5
    assert surrogate["queries"] == 10 + 90 * 2**3
    top = report["diagnosis"]["attacks"][0]["crossings"][-1]
    assert top["broken"] >= top["both"] > 0


def test_what_was_trained_is_kept_with_what_was_prepared(asked, tmp_path):
    subject, checkpoints = asked(examples=470, attack=["transfer"]).subject, Checkpoints(Folder(tmp_path / "kept"))
    prepared = prepare_once(subject, checkpoints)
    assert prepared.trained is not None
    assert Prepared.load(checkpoints).trained == prepared.trained


def test_where_too_few_examples_are_left_to_train_on_that_is_said(asked):
    with pytest.raises(DatasetError, match="9 are left; audit fewer"):
        asked(examples=491, attack=["transfer"])


def test_half_a_normalisation_is_refused(asked, ridge):
    with pytest.raises(SpecError, match="half of a normalisation"):
        asked(f"{ridge}:mean=0.5")


def test_without_surrogates_a_specification_keeps_its_digest(asked):
    fields = asked().subject.spec.model_dump(mode="json")
    assert spec_sha256({k: v for k, v in fields.items() if k != "surrogates"}) == spec_sha256(fields)


def test_the_estimate_counts_every_surrogate(asked, ridge):
    one, two = (
        estimate(asked(*names, attack=["transfer-mi-fgsm"]).subject.spec, examples=10, classes=10)["passes_at_most"]
        for names in ([ridge], [ridge, f"{ridge}:mean=0.25:std=0.5"])
    )
    assert one < two <= 2 * one
