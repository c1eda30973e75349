"""Published networks of the kinds that exports bring, audited from end to end on the images that they were made for."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from auditor.request import read_model
from auditor.spec import Normalisation
from auditor.variants.make import make
from tests.graph.models import halved

DATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))
CIFAR = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
EXAMPLES = 5


def images(name, count=60):
    path = DATA / "images" / f"{name}_test_1000.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with np.load(path) as stored:
        return stored["x"][:count], stored["y"][:count]


@pytest.fixture
def audited(command, tmp_path):
    def audit(model, x, y, eps, *words):
        (tmp_path / "model.onnx").write_bytes(model)
        np.savez(tmp_path / "images.npz", x=x, y=y)
        little = ["--preset", "quick", "--attack", "minimal-apgd", "--attack", "noise", "--examples", EXAMPLES]
        little += ["--batch-size", EXAMPLES, "--threads", 1, "--norm", "Linf", "--eps", eps, "--no-examples"]
        out = tmp_path / "out"
        answer = command("audit", tmp_path / "model.onnx", tmp_path / "images.npz", "--out", out, *little, *words)
        assert answer.code == 0, answer.err
        return json.loads((out / "report.json").read_text())

    return audit


def declared(normalisation):
    return [word for name, values in normalisation for word in (f"--{name}", ",".join(map(str, values)))]


def robust(report):
    """Clean accuracy, and robust accuracy along the grid."""
    return [report["clean"]["accuracy"], *(point["robust_accuracy"] for point in report["curves"][0]["points"])]


def test_a_recurrent_network_reads_digits_line_by_line(audited):
    x, y = images("mnist")
    report = audited((DATA / "zoo" / "mnist_gru.onnx").read_bytes(), x[:, 0], y, "0.02,0.2")
    assert "GRU" in report["model"]["operators"]
    assert report["model"]["gradient"]["access"] == "white-box"
    clean, small, large = robust(report)
    assert clean >= 0.8
    assert small >= large == 0


@pytest.mark.parametrize("form", ["int8", "float16"])
def test_a_resnet_for_cifar_in_fewer_bits(form, audited):
    x, y = images("cifar10")
    whole = (DATA / "models" / "cifar10_resnet" / "resnet_2b.onnx").read_bytes()
    seen = x[40:].astype(np.float32) / 255  # by the quantiser, for its ranges
    upload = read_model(DATA / "models" / "cifar10_resnet" / "resnet_2b.onnx")
    made = make("int8", upload, seen, CIFAR) if form == "int8" else halved(whole)
    # The half model takes float16 behind a float32 normalisation.
    report = audited(made, x[:40], y[:40], "1/255,8/255", *declared(CIFAR))
    access = {"int8": "surrogate-gradient", "float16": "white-box"}[form]
    assert report["model"]["gradient"]["access"] == access
    clean, small, large = robust(report)
    assert clean >= 0.4
    assert small >= large == 0


def test_a_vision_transformer_for_cifar_in_float16(audited):
    x, y = images("cifar10")
    model = halved((DATA / "models" / "vit_2023" / "pgd_2_3_16.onnx").read_bytes())
    report = audited(model, x, y, "1/255,8/255", *declared(CIFAR))
    assert {"Softmax", "MatMul"} <= report["model"]["operators"].keys()
    assert report["model"]["input"]["type"] == "tensor(float16)"
    assert report["model"]["gradient"]["access"] == "white-box"
    clean, small, large = robust(report)
    assert clean >= 0.4
    assert small >= large == 0
