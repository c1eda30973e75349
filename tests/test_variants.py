"""Other forms of one model: made, audited alike, given each other's adversarial examples, compared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from auditor import options
from auditor.audits.outcomes import at_most
from auditor.errors import ModelError, SpecError
from auditor.graph.upload import read_upload
from auditor.report.comparison.schema import ComparisonReport
from auditor.report.document import read_report
from auditor.variants.audit import forms
from auditor.variants.make import KINDS, make
from tests.conftest import DEMO, ROOT

WORDS = ("--examples", 20, "--threads", 1, "--norm", "Linf", "--eps", "0.05,0.1", "--attack", "pgd", "--no-examples")


@pytest.fixture(scope="module")
def upload():
    return read_upload((DEMO / "digits.onnx").read_bytes())


@pytest.fixture(scope="module")
def x():
    with np.load(DEMO / "digits.npz") as data:
        return data["x"][:100].astype(np.float32) / 255


def scores(data, x, optimise=True):
    chosen = onnxruntime.SessionOptions()
    if not optimise:
        chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, chosen, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in x])


@pytest.mark.parametrize("kind", KINDS)
def test_a_variant_answers_nearly_as_the_upload_does(upload, x, kind):
    made = make(kind, upload, x, None)
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    before, after = scores(upload.data, x), scores(made, x)
    assert np.mean(before.argmax(1) == after.argmax(1)) >= 0.95
    assert 0 < np.abs(before - after).max() < 0.2
    assert len(made) < len(upload.data)
    assert make(kind, upload, x, None) == made


def test_what_cannot_be_made_says_why(upload, x):
    nodes = [onnx.helper.make_node("Flatten", ["x"], ["y"])]
    value = {
        name: onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", ["n", 4]), ("y", ["n", 4]))
    }
    graph = onnx.helper.make_graph(nodes, "flat", [value["x"]], [value["y"]])
    flat = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    nothing = read_upload(flat.SerializeToString())
    with pytest.raises(ModelError, match="nothing in it to make int8-dynamic"):
        make("int8-dynamic", nothing, np.zeros((2, 4), np.float32), None)
    with pytest.raises(ModelError, match="cannot make it int8"):
        make("int8", upload, x[:, :, :4], None)
    with pytest.raises(SpecError, match="choose from float16, int8, int8-dynamic"):
        make("int4", upload, x, None)


def test_forms_have_folders_of_their_own():
    request = options.request({"model": "a/m.onnx", "data": "d.npz", "out": "out"})
    made = forms(request, [Path("a/m.onnx"), Path("b/m.onnx")], ["int8"])
    assert [form.name for form in made] == ["1-m", "2-m", "m.int8"]
    assert [str(form.request.out) for form in made] == ["out/1-m", "out/2-m", "out/m.int8"]
    assert str(made[2].request.model) == "out/m.int8.onnx"
    for models, kinds, word in (
        (["m.onnx"], [], "two to 5"),
        (["m.onnx"] * 4, ["int8", "float16"], "two to 5"),
        (["m.onnx"], ["int3"], "int3"),
    ):
        with pytest.raises(SpecError, match=word):
            forms(request, list(map(Path, models)), kinds)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a comparison of the demo's model, a variant of it, and a file that is no model."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "broken.onnx").write_bytes(b"no model")
    data = DEMO / "digits.npz"
    words = (*WORDS, "--to", "int8", "--out", folder / "out")
    command = [sys.executable, "-m", "auditor", "compare", DEMO / "digits.onnx", folder / "broken.onnx", data, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*map(str, command)], env=environment, check=True, capture_output=True)
    return folder / "out"


def test_every_form_is_audited_alike(compared):
    found = ComparisonReport.model_validate_json((compared / "compare.json").read_bytes())
    assert [audit.name for audit in found.audits] == ["digits", "digits.int8"]
    assert [entry.name for entry in found.left_out] == ["broken"]
    reports = [read_report(compared / name / "report.json") for name in ("digits", "digits.int8")]
    assert reports[0].audit.spec_sha256 == reports[1].audit.spec_sha256
    assert reports[0].dataset.index == reports[1].dataset.index
    assert {path.name for path in compared.iterdir()} == {
        "compare.html", "compare.json", "compare.pdf", "digits", "digits.int8", "digits.int8.onnx"
    }  # fmt: skip


@pytest.mark.parametrize(("source", "target"), [("digits", "digits.int8"), ("digits.int8", "digits")])
def test_exchanged_points_count_where_the_target_itself_is_wrong(compared, source, target):
    found = json.loads((compared / "compare.json").read_text())
    (transfer,) = [one for one in found["transfer"] if one["source"] == source]
    file = DEMO / "digits.onnx" if target == "digits" else compared / "digits.int8.onnx"
    own = read_report(compared / target / "report.json")
    rows = own.curves[0].examples
    with np.load(compared / source / "adversarial.npz") as stored:
        points = {name: stored[name] for name in ("index", "x_adv", "label", "distance")}
    answers = [scores(file.read_bytes(), points["x_adv"], optimise) for optimise in (True, False)]
    rows_of = np.arange(len(points["label"]))
    wrong = np.ones(len(rows_of), dtype=bool)
    for answer in answers:  # a quantised model's largest scores may be equal, and a tie is not broken
        own_score = answer[rows_of, points["label"]].copy()
        answer[rows_of, points["label"]] = -np.inf
        wrong &= answer.max(axis=1) > own_score
    place = {position: row for row, position in enumerate(rows.id)}
    right = np.array([rows.status[place[position]] != "wrong" for position in points["index"].tolist()])
    assert len(transfer["points"]) == 2
    for point in transfer["points"]:
        within = (points["distance"] <= at_most(point["eps"])) & right
        counts = within & wrong
        assert (point["tried"], point["broken"]) == (within.sum(), counts.sum())
        broken = {position for position, one in zip(points["index"].tolist(), counts, strict=True) if one}
        stands = [
            status != "wrong" and (distance is None or distance > at_most(point["eps"]))
            for status, distance in zip(rows.status, rows.distance, strict=True)
        ]
        left = [one and position not in broken for one, position in zip(stands, rows.id, strict=True)]
        assert point["robust_accuracy"] == sum(stands) / 20
        assert point["with_transferred"] == sum(left) / 20
    assert transfer["points"][-1]["broken"] > 0


def test_models_need_data_and_a_folder(command, tmp_path):
    model = DEMO / "digits.onnx"
    for words, said in (
        ((model, model), "ends with the data"),
        ((model, DEMO / "digits.npz", "--to", "int8", "--out", tmp_path / "compare.html"), "name one"),
        ((model, DEMO / "digits.npz", "--to", "int3"), "int3 is not known"),
    ):
        answer = command("compare", *words)
        assert (answer.code, said in answer.err) == (64, True), answer


def test_a_margin_in_a_file_is_judged_too_and_nothing_is_attacked_anew(command, compared, tmp_path):
    (tmp_path / "audit.yaml").write_text("margin: 0.9\n")
    kept = {path: path.stat().st_mtime_ns for path in compared.rglob("slice-*.frame")}
    words = (*WORDS, "--to", "int8", "--out", compared, "--spec", tmp_path / "audit.yaml")
    answer = command("compare", DEMO / "digits.onnx", DEMO / "digits.npz", *words)
    assert (answer.code, "passed at Linf 0.05, Linf 0.1" in answer.out) == (0, True), answer
    assert kept == {path: path.stat().st_mtime_ns for path in compared.rglob("slice-*.frame")} != {}


def test_finished_audits_take_no_options_of_an_audit(command, compared):
    answer = command("compare", compared / "digits", compared / "digits.int8", "--norm", "L2")
    assert (answer.code, "--norm is for comparing models" in answer.err) == (64, True), answer
