"""Quantised networks audited from end to end: surrogate gradients lead at least as far as scores alone."""

import os
from pathlib import Path

import numpy as np
import pytest

from auditor.report.schema import Report

OWN = Path(__file__).parent / "models" / "quantised"
DATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def audited(command, tmp_path):
    def audit(model, x, *words):
        np.savez(tmp_path / "data.npz", **x)
        little = ["--preset", "quick", "--batch-size", 8, "--threads", 1, "--domain", "0,1", "--norm", "Linf"]
        answer = command("audit", model, tmp_path / "data.npz", "--out", tmp_path / "out", *little, *words)
        assert answer.code == 0, answer.err
        return Report.model_validate_json((tmp_path / "out" / "report.json").read_text())

    return audit


def left_by(report):
    """The accuracy that each attack alone leaves on the diagnosis's subsample, per eps."""
    return {row["attack"]: np.array(row["accuracy"]) for row in report.diagnosis.attacks}


@pytest.mark.parametrize("form", ["qdq", "dynamic"])
def test_a_quantised_resnet_breaks_at_least_as_often_as_by_scores(form, audited):
    x = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    report = audited(OWN / f"resnet.{form}.onnx", {"x": x}, "--eps", "0.005,0.01,0.02,0.04")
    gradient = report.model.gradient
    assert gradient["access"] == "surrogate-gradient"
    assert "QuantizeLinear" in gradient["why"]
    assert report.audit.plan["batch"] == (1 if form == "dynamic" else 8)
    left = left_by(report)
    assert (left["minimal-apgd"] <= left["square"]).all()
    assert left["minimal-apgd"][-1] < 1
    assert {stage.access for stage in report.stages} == {"surrogate-gradient", "score"}


def test_few_examples_are_enough_where_the_true_gradient_passes_through_scales_alone(audited):
    x = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    report = audited(OWN / "resnet.dynamic.onnx", {"x": x}, "--eps", "0.04", "--attack", "fgsm")
    assert report.model.gradient["access"] == "surrogate-gradient"


def test_a_network_in_whole_numbers_is_broken_as_far_as_scores_reach(audited):
    model = DATA / "zoo" / "mnist_integer.onnx"
    if not model.exists():
        pytest.skip(f"{model} is not there")
    with np.load(DATA / "images" / "mnist_test_1000.npz") as stored:
        data = {"x": stored["x"][:12], "y": stored["y"][:12]}
    report = audited(model, data, "--eps", "0.05,0.1,0.2")
    assert report.clean.accuracy > 0.8
    assert report.model.gradient["access"] == "surrogate-gradient"
    left = left_by(report)
    assert (left["minimal-apgd"] <= left["square"]).all()
    assert left["minimal-apgd"][1] < left["square"][1]
