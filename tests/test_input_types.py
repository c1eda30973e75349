"""Models that take something else than float32, audited from end to end."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from auditor.errors import ModelError
from auditor.graph.upload import read_upload
from auditor.report.schema import Report
from auditor.runtime import Session
from auditor.spec import Held
from tests.graph.models import halved, taking_bytes, text

MODELS = Path(__file__).parent / "models"


@pytest.fixture
def audited(command, tmp_path):
    def audit(model, *words, **data):
        (tmp_path / "model.onnx").write_bytes(model)
        np.savez(tmp_path / "data.npz", **data)
        little = ["--preset", "quick", "--batch-size", 4, "--threads", 1, "--norm", "Linf", "--budget", "60passes"]
        return command(
            "audit", tmp_path / "model.onnx", tmp_path / "data.npz", "--out", tmp_path / "out", *little, *words
        )

    return audit


def results(tmp_path):
    report = Report.model_validate_json((tmp_path / "out" / "report.json").read_text())
    with np.load(tmp_path / "out" / "adversarial.npz") as stored:
        return report, {name: stored[name] for name in stored.files}


def test_a_vit_in_float16_is_attacked_at_points_that_float16_holds(audited, tmp_path):
    model = halved((MODELS / "vit.new-18.onnx").read_bytes())
    x = np.random.default_rng(0).random((4, 3, 32, 32), np.float32)
    answer = audited(model, "--domain", "0,1", "--eps", "0.01,0.02,0.05", x=x)
    assert answer.code == 0, answer.err
    report, found = results(tmp_path)
    assert report.model.gradient["access"] == "white-box"
    assert report.model.gradient["error"] < 1e-2
    assert report.curves[0].points[-1].broken_by
    cast = found["x_adv"].astype(np.float16).astype(np.float32)
    assert np.array_equal(found["x_adv"], cast)
    clean = x[found["index"]].astype(np.float16).astype(np.float64)
    distances = np.abs(cast - clean).reshape(len(clean), -1).max(axis=1)
    np.testing.assert_array_equal(found["distance"], distances)
    session = Session(model)
    for row, predicted in zip(cast, found["predicted"], strict=True):
        assert session.run({"x": row[None].astype(np.float16)})[0].argmax() == predicted


def test_a_model_that_takes_bytes_is_attacked_in_whole_grey_levels(audited, tmp_path):
    model = taking_bytes((MODELS / "resnet.new-23.onnx").read_bytes())
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32)).astype(np.uint8)
    answer = audited(model, "--eps", "1/255,2/255,8/255", x=x)
    assert answer.code == 0, answer.err
    report, found = results(tmp_path)
    assert report.model.gradient["access"] == "white-box"
    assert tuple(report.dataset.domain) == (0, 255)
    assert report.curves[0].points[-1].robust_accuracy < 1
    whole = found["x_adv"].astype(np.uint8)
    assert np.array_equal(whole, found["x_adv"])
    moved = np.abs(whole.astype(np.int64) - x[found["index"]]).reshape(len(whole), -1).max(axis=1)
    np.testing.assert_allclose(found["distance"] * 255, moved, rtol=1e-12)
    for row, predicted in zip(whole, found["predicted"], strict=True):
        assert Session(model).run({"x": row[None]})[0].argmax() == predicted


@pytest.mark.parametrize("words", [["--domain", "0,1"], ["--quantize", "4"], ["--mean", "0.5", "--std", "0.5"]])
def test_what_does_not_fit_a_model_of_bytes_is_refused(words, audited):
    model = taking_bytes((MODELS / "resnet.new-23.onnx").read_bytes())
    answer = audited(model, *words, x=np.zeros((4, 3, 32, 32), np.uint8))
    assert answer.code == 64
    assert "whole numbers" in answer.err


def test_bytes_that_are_dequantised_at_once_have_a_gradient_through_surrogates(audited, tmp_path):
    """DequantizeLinear wants bytes, so that its input cannot be read as a float."""
    body = "f (uint8[N,6] x) => (float[N,3] y) { d = DequantizeLinear(x, s, z) y = MatMul(d, W) }"
    weights = {"W": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)}
    model = text(body, opset=21, s=np.float32(0.02), z=np.uint8(9), **weights)
    x = np.random.default_rng(1).integers(0, 256, (8, 6)).astype(np.uint8)
    answer = audited(model, "--eps", "0.1,0.5", x=x)
    assert answer.code == 0, answer.err
    report, found = results(tmp_path)
    assert report.model.gradient["access"] == "surrogate-gradient"
    assert len(found["x_adv"])


def test_weights_in_bfloat16_are_read_as_the_numbers_they_are(audited):
    """ONNX Runtime computes nothing in bfloat16 on the CPU, but casts what is stored in it."""
    body = "f (float[N,6] x) => (float[N,3] y) { w = Cast<to=1>(B) y = MatMul(x, w) }"
    stored = onnx.load_from_string(text(body))
    stored.graph.initializer.append(
        onnx.helper.make_tensor("B", onnx.TensorProto.BFLOAT16, (6, 3), np.linspace(-1, 1, 18))
    )
    answer = audited(
        stored.SerializeToString(), "--domain", "0,1", "--eps", "0.1", x=np.random.default_rng(0).random((8, 6))
    )
    assert answer.code == 0, answer.err


def test_levels_are_read_from_the_inputs_type():
    upload = read_upload(taking_bytes((MODELS / "resnet.new-23.onnx").read_bytes()))
    assert upload.levels == (0, 255)


COLUMNS = """f (float[N,1] age, int64[N,1] count, float[N,1] height, string[N,1] colour) => (float[N,2] y) {
    n = Cast<to=1>(count) r = Concat<axis=1>(age, n, height) y = MatMul(r, W) }"""


def test_named_columns_are_audited_as_one_table(command, tmp_path):
    """By name, in the model's order; the column of whole numbers stays whole, and one that the model does not name is left."""
    weight = np.array([[1, -1], [0.4, -0.4], [-1, 1]], np.float32)
    (tmp_path / "model.onnx").write_bytes(text(COLUMNS, W=weight))
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=20), rng.integers(0, 5, 20), rng.normal(size=20)])
    label = (rows[:, [1, 2, 0]] @ weight[[1, 2, 0]]).argmax(axis=1)
    lines = [f"{h},{int(n)},{a},x,{y}" for (a, n, h), y in zip(rows, label, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["height,count,age,remark,label", *lines]))
    words = ["--preset", "quick", "--fix", "colour=red", "--domain", "none", "--norm", "L2", "--eps", "0.5,1,3"]
    answer = command("audit", tmp_path / "model.onnx", tmp_path / "rows.csv", "--out", tmp_path / "out", *words)
    assert answer.code == 0, answer.err
    report, found = results(tmp_path)
    assert report.clean.accuracy == 1
    assert report.model.input["columns"] == ["age", "count", "height"]
    assert report.model.input["held"] == {"colour": "red"}
    assert any("colour=red" in said for said in report.not_tested)
    assert report.curves[0].points[-1].robust_accuracy == 0
    assert np.array_equal(found["x_adv"][:, 1], np.round(found["x_adv"][:, 1]))
    broken = (found["x_adv"].astype(np.float64) @ weight).argmax(axis=1)
    assert np.array_equal(broken, found["predicted"])
    assert (broken != found["label"]).all()


def test_a_column_that_the_data_lack_is_named(command, tmp_path):
    (tmp_path / "model.onnx").write_bytes(text(COLUMNS, W=np.ones((3, 2), np.float32)))
    (tmp_path / "rows.csv").write_text("age,height,label\n1,2,0\n3,4,1\n")
    words = ["--fix", "colour=red", "--domain", "none", "--out", tmp_path / "out"]
    answer = command("audit", tmp_path / "model.onnx", tmp_path / "rows.csv", *words)
    assert answer.code == 64
    assert "no column count" in answer.err


WORDS = """f (int64[N,T] ids, float[N,T] mask) => (float[N,3] y) {
    e = Gather<axis=0>(table, ids) s = Shape(ids) zeros = ConstantOfShape(s) u = Unsqueeze(zeros, last) p = Add(e, u)
    m = Unsqueeze(mask, last) k = Mul(p, m) h = Tanh(k) r = ReduceSum<keepdims=0>(h, first) y = MatMul(r, W) }"""


def of_words(body=WORDS):
    rng = np.random.default_rng(0)
    weights = {"table": rng.normal(size=(20, 6)).astype(np.float32), "W": rng.normal(size=(6, 3)).astype(np.float32)}
    return text(body, opset=17, last=np.array([2]), first=np.array([1]), **weights)


def test_a_model_that_takes_tokens_is_attacked_at_their_embedding(command, tmp_path):
    (tmp_path / "model.onnx").write_bytes(of_words())
    ids = np.random.default_rng(1).integers(0, 20, (12, 5))
    np.savez(tmp_path / "data.npz", x=ids)
    words = ["--preset", "quick", "--input", "ids", "--fix", "mask=1", "--norm", "L2", "--eps", "0.1,0.5,2"]
    answer = command("audit", tmp_path / "model.onnx", tmp_path / "data.npz", "--out", tmp_path / "out", *words)
    assert answer.code == 0, answer.err
    report, found = results(tmp_path)
    assert "embedding output 'e' attacked" in answer.err
    assert any("embedding output 'e' was attacked" in said for said in report.not_tested)
    assert report.model.input["tokens"] == "ids"
    assert report.model.input["held"] == {"mask": [1.0]}
    assert report.model.gradient["access"] == "white-box"
    assert report.curves[0].points[-1].robust_accuracy < 0.5
    upload = read_upload(of_words(), input="ids", fix=[Held.parse("mask=1")])
    rng = np.random.default_rng(0)
    table, weight = rng.normal(size=(20, 6)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    for x_adv, index, distance, predicted in zip(
        found["x_adv"], found["index"], found["distance"], found["predicted"], strict=True
    ):
        assert (np.tanh(x_adv).sum(axis=0) @ weight).argmax() == predicted
        np.testing.assert_allclose(np.linalg.norm(x_adv - table[ids[index]]), distance, rtol=1e-5)
    assert upload.sha256 == report.model.sha256


def test_tokens_that_are_no_row_of_the_table_are_named(command, tmp_path):
    (tmp_path / "model.onnx").write_bytes(of_words())
    np.savez(tmp_path / "data.npz", x=np.full((3, 5), 20))
    words = ["--input", "ids", "--fix", "mask=1", "--out", tmp_path / "out"]
    answer = command("audit", tmp_path / "model.onnx", tmp_path / "data.npz", *words)
    assert answer.code == 64
    assert "holds 20, which is no token" in answer.err


def test_a_model_that_uses_its_tokens_elsewhere_is_not_cut():
    body = WORDS.replace("s = Shape(ids)", "c = Cast<to=1>(ids) q = Unsqueeze(c, last) s = Shape(ids)")
    body = body.replace("Add(e, u)", "Add(e, q)")
    with pytest.raises(ModelError, match=r"Unsqueeze .* uses them as well"):
        read_upload(of_words(body), input="ids", fix=[Held.parse("mask=1")])


@pytest.mark.parametrize("tail", ["Sigmoid(z)", "Softmax<axis=1>(z)"])
def test_a_sigmoid_per_class_is_remarked_on(tail, audited, tmp_path):
    weight = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    model = text(f"f (float[N,6] x) => (float[N,3] y) {{ z = MatMul(x, W) y = {tail} }}", W=weight)
    x = np.random.default_rng(1).random((4, 6), np.float32)
    answer = audited(model, "--domain", "0,1", "--eps", "0.1", "--attack", "fgsm", x=x)
    assert answer.code == 0, answer.err
    report, _ = results(tmp_path)
    assert any("each label by itself" in said for said in report.not_tested) == ("Sigmoid" in tail)
