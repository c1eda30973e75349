"""What is wrong gets one clear sentence and an exit code, no traceback, and leaves nothing half-written."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from auditor import terminal
from tests.graph.models import linear, text

FEW = ("--domain", "0,1", "--norm", "Linf", "--eps", "0.1", "--attack", "fgsm")


@pytest.fixture
def files(tmp_path):
    """A linear classifier of four features and three classes, with data that it is right on."""
    model = tmp_path / "model.onnx"
    model.write_bytes(linear())
    x = np.random.default_rng(0).random((40, 4), dtype=np.float32)
    weight = onnx.numpy_helper.to_array(onnx.load(model).graph.initializer[0])
    save(tmp_path, x=x, y=np.argmax(x @ weight, axis=1))
    return tmp_path


def save(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)


def data(folder):
    with np.load(folder / "data.npz") as stored:
        return stored["x"], stored["y"]


def refused(answer, *words, code=64):
    """Whether the answer is one sentence with these words."""
    assert answer.code == code, answer
    lines = [line for line in answer.err.splitlines() if not line.startswith("chosen: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("auditor: ")
    assert "Traceback" not in answer.err
    for word in words:
        assert word in lines[0], lines[0]
    assert answer.out == ""


def untouched(folder):
    """Whether no output was begun."""
    assert not (folder / "out").exists()


def audit(command, files, *options, model="model.onnx", few=FEW):
    return command("audit", files / model, files / "data.npz", "--out", files / "out", *few, *options)


def test_the_classifier_used_here_is_accepted(command, files):
    assert audit(command, files).code == 0


# --- the model


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("there is no model at", "check the path")),
        (b"", ("empty",)),
        (b"hello, I am a model\n" * 10, ("not ONNX but text",)),
        (b"PK\x03\x04" + b"\0" * 100, ("zip archive", "export the model to ONNX")),
        (b"\x80\x02}q\x00.", ("pickle", "never opened")),
        (linear()[:-20], ("cut short",)),
        (b"\xff" * 300, ("not ONNX",)),
    ],
)
def test_a_file_that_is_no_model_is_named_for_what_it_is(command, files, content, words):
    (files / "model.onnx").unlink()
    if content is not None:
        (files / "model.onnx").write_bytes(content)
    refused(audit(command, files), *words)
    untouched(files)


def test_a_folder_is_no_model(command, files):
    refused(command("audit", files, files / "data.npz", "--out", files / "out"), "is a folder")
    untouched(files)


def two_inputs():
    return text("f (float[N,4] a, float[N,4] b) => (float[N,4] y) { y = Add(a, b) }")


def string_input():
    nodes = [
        helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["a"], values_floats=[1.0])
    ]
    graph = helper.make_graph(
        nodes,
        "strings",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def label_per_pixel():
    kernel = np.random.default_rng(0).normal(size=(3, 1, 1, 1)).astype(np.float32)
    body = "f (float[N,1,2,2] x) => (int64[N,2,2] y) { z = Conv(x, K) y = ArgMax<axis=1, keepdims=0>(z) }"
    return text(body, K=kernel)


def regression():
    return text("f (float[N,4] x) => (float[N,1] y) { y = ReduceSum<keepdims=1>(x, a) }", a=np.array([1]))


def two_outputs():
    return text("f (float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Relu(x) z = Tanh(x) }")


def not_finite():
    return text("f (float[N,4] x) => (float[N,4] y) { z = Sub(x, x) y = Div(x, z) }")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (regression(), ("regression",)),
        (string_input(), ("input 'x'", "neither floats nor levels")),
        (two_inputs(), ("2 inputs", "'a'", "'b'")),
        (label_per_pixel(), ("only a label", "export scores")),
        (two_outputs(), ("several outputs", "--output")),
        (not_finite(), ("not finite", "example 0")),
    ],
    ids=["regression", "strings", "two inputs", "label per pixel", "two outputs", "not finite"],
)
def test_a_model_that_is_no_classifier_of_one_input_is_refused(command, files, model, words):
    (files / "model.onnx").write_bytes(model)
    refused(audit(command, files), *words)
    untouched(files)


def test_names_that_the_model_does_not_have_are_refused(command, files):
    refused(audit(command, files, "--input", "pixels"), "no input 'pixels'", "'x'")
    refused(audit(command, files, "--output", "scores"), "no output 'scores'", "'y'")


# --- the data


def test_missing_data_are_refused(command, files):
    (files / "data.npz").unlink()
    refused(audit(command, files), "There is no file", "data.npz")
    untouched(files)


def test_labels_out_of_range_are_refused(command, files):
    x, y = data(files)
    save(files, x=x, y=y + 1)
    refused(audit(command, files), "out of range", "3 classes", "subtract 1")
    untouched(files)


def test_pixels_that_are_not_numbers_are_refused(command, files):
    x, y = data(files)
    x[7, 2] = np.nan
    save(files, x=x, y=y)
    refused(audit(command, files), "NaN", "position 7")
    untouched(files)


def test_values_outside_the_domain_are_refused(command, files):
    x, y = data(files)
    save(files, x=x * 255, y=y)
    refused(audit(command, files), "outside the domain [0, 1]", "--domain 0,255")


def test_examples_of_another_shape_are_refused(command, files):
    x, y = data(files)
    save(files, x=x[:, :3], y=y)
    refused(audit(command, files), "4", "3")


def test_no_examples_are_refused(command, files):
    x, y = data(files)
    save(files, x=x[:0], y=y[:0])
    refused(audit(command, files), "no examples")


def test_float_data_without_a_domain_are_asked_for_it(command, files):
    answer = audit(command, files, few=("--norm", "Linf", "--eps", "0.1"))
    refused(answer, "must be declared", "--domain 0,1", "--domain none")


def test_a_table_without_its_label_column_is_refused(command, files):
    (files / "data.csv").write_text("a,b,c,d\n1,0,0,1\n0,1,1,0\n")
    answer = command("audit", files / "model.onnx", files / "data.csv", "--label-column", "class", *FEW)
    refused(answer, "class", "a, b, c, d")


def test_accuracy_at_chance_is_a_question(command, files):
    x, y = data(files)
    save(files, x=x, y=(y + 1) % 3)
    refused(audit(command, files), "right on 0 of 40", "order of the labels", "--mean", "--layout", "--allow-chance")
    untouched(files)


def test_accuracy_at_chance_can_be_insisted_on(command, files):
    x, y = data(files)
    save(files, x=x, y=(y + 1) % 3)
    assert audit(command, files, "--allow-chance").code == 0


# --- the request


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--norm", "Linf", "--eps", "0"), ("eps of 0", "above 0")),
        (("--norm", "Linf", "--eps", "-1/255"), ("'-1/255'", "8/255")),
        (("--norm", "Linf", "--eps", "big"), ("'big'", "8/255")),
        (("--norm", "Linf", "--eps", "nan"), ("'nan'",)),
        (("--norm", "Linf", "--eps", "1/0"), ("divides by zero",)),
        (("--norm", "Linf", "--eps", "1e400"), ("1e400", "no size")),
        (("--norm", "Linf", "--eps", "1e999999999"), ("1e999999999",)),
        (("--norm", "Linf", "--eps", "9" * 5000), ("99999",)),
        (("--norm", "Linf", "--eps", "0.1", "--eps", "0.2"), ("1 --norm and 2 --eps",)),
        (("--eps", "0.1"), ("0 --norm and 1 --eps",)),
        (("--norm", "L7"), ("no norm 'L7'", "Linf, L2, L1")),
        (("--norm", "Linf", "--norm", "Linf"), ("Linf is given twice",)),
        (("--norm", "L1"), ("no eps for L1", "--eps")),
        (("--threat", "weather"), ("no threat preset 'weather'", "image-8bit")),
        (("--preset", "heroic"), ("preset", "'heroic'", "quick")),
        (("--attack", "magic"), ("no attack 'magic'", "pgd")),
        (("--norm", "Linf", "--attack", "ddn"), ("ddn", "Linf")),
        (("--device", "tpu"), ("device", "'tpu'", "cuda")),
        (("--examples", "0"), ("examples", "greater than or equal to 1")),
        (("--examples", "many"), ("--examples", "valid integer")),
        (("--seed", "-1"), ("seed", "greater than or equal to 0")),
        (("--batch-size", "0"), ("batch_size",)),
        (("--batch-size", str(10**12)), ("batch_size",)),
        (("--threads", "0"), ("threads",)),
        (("--domain", "1,0"), ("1,0", "smaller first")),
        (("--domain", "0"), ("--domain 0", "two ends")),
        (("--domain", "0,inf"), ("0,inf", "finite")),
        (("--domain", "low,high"), ("--domain low,high",)),
        (("--layout", "CHWN"), ("CHWN", "NCHW")),
        (("--mean", "0.5,0.5"), ("mean has 2 values", "4")),
        (("--std", "0"), ("std", "positive")),
        (("--mean", "grey"), ("--mean grey",)),
        (("--fail-under", "Linf:8/255"), ("gate 'Linf:8/255'", "Linf:8/255=0.40")),
        (("--fail-under", "L9:8/255=0.4"), ("gate", "Linf, L2, L1")),
        (("--fail-under", "Linf:8/255=40"), ("between 0 and 1",)),
        (("--fail-under", "Linf:8/255=1e400"), ("an accuracy of 1e400", "between 0 and 1")),
        (("--fail-under", "Linf:0=0.4"), ("eps of 0",)),
        (("--budget", "soon"), ("budget 'soon'", "500passes")),
        (("--budget", "0passes"), ("budget '0passes'",)),
        (("--budget", "0.5passes"), ("budget '0.5passes'",)),
        (("--budget", "9" * 400 + "h"), ("budget",)),
        (("--margin", "2"), ("--margin 2", "between 0 and 1")),
        (("--margin", "-0.1"), ("--margin",)),
        (("--resize", "inf"), ("--resize inf",)),
        (("--crop", "12", "--scale", "1/255"), ("crop", "folder of images")),
        (("--scale", "1e400"), ("--scale 1e400", "too large")),
        (("--labels", "nowhere.npy"), ("nowhere.npy",)),
        (("--baseline", "nowhere.json"), ("nowhere.json", "cannot be read")),
        (("--preprocessor", "nowhere.json"), ("nowhere.json",)),
        (("--spec", "nowhere.yaml"), ("nowhere.yaml", "cannot be read")),
        (("--speed", "fast"), ("--speed", "--help")),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_request_that_makes_no_sense_is_refused_before_anything_is_written(command, files, options, words):
    domain = () if "--domain" in options else ("--domain", "0,1")
    refused(audit(command, files, *options, few=domain), *words)
    untouched(files)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("speed: fast\n", ("unknown entries: speed", "known are")),
        ("- just\n- a list\n", ("NAME: VALUE",)),
        ("a: [b", ("not YAML",)),
        (b"\xff\xfe\x00", ("not YAML",)),
        ("eps: [0]\nnorm: [Linf]\n", ("eps of 0",)),
        ("margin: plenty\n", ("--margin plenty",)),
        ("domain: {low: 0}\n", ("--domain",)),
        ("threat: [mnist]\n", ("no threat preset",)),
        ("fail-under: 5\n", ("gate '5'",)),
        ("norm: 1\n", ("no norm '1'",)),
        ("layout: [NCHW]\n", ("no layout",)),
        ("examples: many\n", ("examples",)),
        ("domain: [1, 0]\n", ("smaller first",)),
    ],
)
def test_a_specification_file_that_is_wrong_is_refused(command, files, content, words):
    path = files / "audit.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    few = () if b"domain" in path.read_bytes() else ("--domain", "0,1")
    refused(audit(command, files, "--spec", path, few=few), *words)
    untouched(files)


def test_an_output_path_that_is_a_file_is_refused(command, files):
    (files / "out").write_text("mine")
    refused(audit(command, files), "is a file", "give a folder")
    refused(command("audit", files / "model.onnx", files / "data.npz", *FEW, "--out", files / "out" / "deep"), "file")
    assert (files / "out").read_text() == "mine"


def test_an_output_folder_that_is_not_writable_is_refused(command, files, monkeypatch):
    writable = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and writable(path, mode))
    refused(audit(command, files), "not writable", "another folder")


def test_a_full_disk_is_no_fault_of_the_input(command, files, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    refused(audit(command, files), "No space left on device", "goes on from there", code=1)
    assert not list((files / "out").rglob("*.part"))
    assert not (files / "out" / "report.json").exists()


def test_a_baseline_of_another_request_is_refused(command, files):
    assert audit(command, files).code == 0
    report = files / "out" / "report.json"
    answer = audit(command, files, "--out", files / "second", "--seed", "5", "--baseline", report)
    refused(answer, "baseline")
    assert not (files / "second").exists()


def test_a_baseline_that_is_no_report_is_refused(command, files):
    (files / "baseline.json").write_text(json.dumps({"hello": 1}))
    refused(audit(command, files, "--baseline", files / "baseline.json"), "not a report of this tool")


def test_asking_for_cuda_where_there_is_none_is_said_at_once(command, files, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    refused(audit(command, files, "--device", "cuda"), "CUDA", "--device cpu", code=1)
    untouched(files)


# --- what nobody foresaw


@pytest.fixture
def broken(monkeypatch):
    def fail(*arguments, **named):
        raise RuntimeError("the roof\nfell in")

    monkeypatch.setattr(terminal, "audit_in_terminal", fail)


def test_an_error_that_nobody_foresaw_is_one_sentence_that_asks_for_a_report(command, files, broken):
    refused(audit(command, files), "RuntimeError: the roof fell in", "report it", "AUDITOR_DEBUG=1", code=1)


def test_the_traceback_comes_when_it_is_asked_for(command, files, broken, monkeypatch):
    monkeypatch.setenv("AUDITOR_DEBUG", "1")
    with pytest.raises(RuntimeError, match="the roof"):
        audit(command, files)
