"""Several inputs: one attacked, the others held, or columns of one table."""

import dataclasses

import numpy as np
import pytest

from auditor import runtime
from auditor.autodiff.coverage import obstacles
from auditor.classifier import OnnxClassifier
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.graph.plain import make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.spec import Held
from tests.graph.models import text

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
MASKED = """f (float[{batch},T,4] x, float[{batch},T] mask, int64[1] times) => (float[{batch},3] y) {{
    u = Unsqueeze(mask, last) m = Mul(x, u) r = ReduceSum<keepdims=0>(m, first) c = Cast<to=1>(times) t = Mul(r, c)
    y = MatMul(t, W) }}"""
COLUMNS = """f (float[N,1] age, int64[N] count, double[N,1] height) => (float[N,3] y) {
    n = Cast<to=1>(count) i = Unsqueeze(n, last) h = Cast<to=1>(height) r = Concat<axis=1>(age, i, h) y = MatMul(r, W) }"""


def masked(batch="N"):
    return text(MASKED.format(batch=batch), W=W, last=np.array([2]), first=np.array([1]))


def columns():
    return text(COLUMNS, W=W[:3], last=np.array([1]))


def held(*said):
    return [Held.parse(text) for text in said]


@pytest.mark.parametrize("batch", ["N", "1"])
def test_the_others_are_held_in_the_graph_as_in_the_upload(batch):
    upload = read_upload(masked(batch), input="x", fix=held("mask=1,0", "times=3"))
    graph = make_plain(upload, batch=4, shape=(2, 4))
    assert (graph.batch, graph.shape, graph.classes) == (4, (2, 4), 3)
    assert obstacles(graph) == []
    x = np.random.default_rng(1).random((4, 2, 4), np.float32)
    expected = 3 * x[:, 0] @ W
    np.testing.assert_allclose(runtime.evaluate(serialise(graph.model), {"x": x})[0], expected, rtol=1e-5)
    session = runtime.Session(upload.data)
    np.testing.assert_allclose(upload.run(session, x[:1])[0], expected[0], rtol=1e-5)


def test_columns_are_one_table_in_the_order_of_the_inputs():
    upload = read_upload(columns())
    assert upload.given.names == ("age", "count", "height")
    assert upload.given.whole == ("count",)
    assert upload.input_shape == (None, 3)
    graph = make_plain(upload, batch=2)
    x = np.array([[0.5, 3, -2], [1.5, -1, 0.25]], np.float32)
    np.testing.assert_allclose(runtime.evaluate(serialise(graph.model), {"x": x})[0], x @ W[:3], rtol=1e-5)
    np.testing.assert_allclose(upload.run(runtime.Session(upload.data), x[1:])[0], x[1] @ W[:3], rtol=1e-5)


def test_a_column_can_be_held():
    upload = read_upload(columns(), fix=held("count=2"))
    assert upload.given.names == ("age", "height")
    graph = make_plain(upload, batch=2)
    x = np.random.default_rng(0).random((2, 2), np.float32)
    expected = x @ W[[0, 2]] + 2 * W[1]
    np.testing.assert_allclose(runtime.evaluate(serialise(graph.model), {"x": x})[0], expected, rtol=1e-5)


def test_an_input_without_a_value_is_named_when_the_model_is_to_run():
    upload = read_upload(masked(), input="x", fix=held("times=3"))
    with pytest.raises(ModelError, match=r"also takes 'mask' .* --fix NAME=VALUE"):
        make_plain(upload, batch=2, shape=(2, 4))


@pytest.mark.parametrize(
    ("choice", "error", "said"),
    [
        ({}, ModelError, "name the one to attack with --input"),
        ({"input": "nothing"}, ModelError, "no input 'nothing'"),
        ({"input": "x", "fix": held("nothing=1")}, ModelError, "no input 'nothing'"),
        ({"input": "x", "fix": held("x=1")}, SpecError, "attacked and held"),
        ({"fix": held("x=1", "mask=1", "times=1")}, SpecError, "none to attack"),
        ({"input": "times", "fix": held("x=1", "mask=1")}, ModelError, "neither floats nor levels"),
    ],
)
def test_what_cannot_be_sorted_out_is_refused(choice, error, said):
    with pytest.raises(error, match=said):
        read_upload(masked(), **choice)


def test_values_that_do_not_fill_an_input_are_refused():
    upload = read_upload(masked(), input="x", fix=held("mask=1,0,1", "times=1"))
    with pytest.raises(SpecError, match="3 values do not fill"):
        make_plain(upload, batch=2, shape=(2, 4))


def test_text_columns_come_with_each_example_behind_the_numbers():
    model = text(
        """f (float[N,1] a, string[N,1] b, double[N] c) => (float[N,3] y) {
        k = ai.onnx.ml.LabelEncoder<keys_strings=["blue","green","red"], values_floats=[1.0,2.0,4.0]>(b)
        d = Cast<to=1>(c) u = Unsqueeze(d, one) r = Concat<axis=1>(a, u, k) y = MatMul(r, W) }""",
        domains=', "ai.onnx.ml":3',
        W=W[:3],
        one=np.array([1]),
    )
    upload = read_upload(model)
    assert (upload.given.names, [one.column for one in upload.given.carried]) == (("a", "c"), ["b"])
    assert (upload.input_shape, upload.given.shape) == ((None, 3), (2,))
    given, features = upload.given.filled({"b": np.array(["red", "blue", "red"])}, "data")
    assert features.tolist() == [[1], [0], [1]]
    upload = dataclasses.replace(upload, given=given)
    x = np.concatenate([np.array([[1, 2], [3, 4], [-1, 0.5]], np.float32), features], axis=1)
    assert given.feeds(x)["b"].tolist() == [["red"], ["blue"], ["red"]]
    expected = np.column_stack([x[:, :2], [4, 1, 4]]) @ W[:3]
    graph = make_plain(upload, batch=3)
    assert obstacles(graph) == []
    np.testing.assert_allclose(runtime.evaluate(serialise(graph.model), {"x": x})[0], expected, rtol=1e-5)
    session = runtime.Session(upload.data)
    for row in range(3):
        np.testing.assert_allclose(upload.run(session, x[row : row + 1])[0], expected[row], rtol=1e-5)


def test_until_the_data_say_it_the_words_are_those_that_the_model_knows():
    """A model that refuses others can be inspected all the same."""
    model = text(
        """f (float[N,1] a, string[N,1] b) => (float[N,2] y) {
        k = ai.onnx.ml.OneHotEncoder<cats_strings=["left","right"], zeros=0>(b) f = Flatten(k) y = Mul(f, a) }""",
        domains=', "ai.onnx.ml":3',
    )
    upload = read_upload(model)
    assert upload.given.carried[0].words == ("left", "right")
    given, features = upload.given.filled({"b": np.array(["right", "left"])}, "data")
    upload = dataclasses.replace(upload, given=given)
    rows = np.concatenate([np.array([[2], [3]], np.float32), features], axis=1)
    plain = serialise(make_plain(upload, batch=2).model)
    assert runtime.evaluate(plain, {"x": rows})[0].tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize("batch", ["N", "2"])
def test_values_of_other_inputs_come_behind_the_attacked_one(batch):
    model = text(MASKED.format(batch=batch).replace("T", "2"), W=W, last=np.array([2]), first=np.array([1]))
    upload = read_upload(model, input="x", fix=held("mask=@seen", "times=3"))
    assert (upload.input_shape[1:], upload.given.shape) == ((10,), (2, 4))
    rng = np.random.default_rng(1)
    mask = rng.integers(0, 2, (6, 2)).astype(bool)
    given, features = upload.given.filled({"seen": mask}, "data")
    upload = dataclasses.replace(upload, given=given)
    x = rng.random((6, 8), np.float32)
    graph = make_plain(upload, batch=6)
    expected = 3 * (x.reshape(6, 2, 4) * mask[:, :, None]).sum(axis=1) @ W
    rows = np.concatenate([x, features], axis=1)
    np.testing.assert_allclose(runtime.evaluate(serialise(graph.model), {"x": rows})[0], expected, rtol=1e-5)
    session = runtime.Session(upload.data)
    for row in range(6):
        np.testing.assert_allclose(upload.run(session, rows[row : row + 1])[0], expected[row], rtol=1e-5)


CANNOT = {
    "another shape": (
        np.ones((3, 5)),
        r"'seen' is of shape \(5,\) per example, and the model's input 'mask' takes \(2,\)",
    ),
    "no number": (np.array([["a", "b"]] * 3), "'seen' holds text"),
    "not finite": (np.array([[1, 2], [1, np.nan], [0, 0]]), "'seen' of example 1 holds nan"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_values_that_an_input_cannot_be_given_are_refused(name):
    values, why = CANNOT[name]
    model = text(MASKED.format(batch="N").replace("T", "2"), W=W, last=np.array([2]), first=np.array([1]))
    upload = read_upload(model, input="x", fix=held("mask=@seen", "times=3"))
    with pytest.raises(DatasetError, match=why):
        upload.given.filled({"seen": values}, "data")


def test_whole_numbers_that_a_row_cannot_hold_are_refused():
    body = "f (float[N,4] x, int64[N] n) => (float[N,3] y) { c = Cast<to=1>(n) u = Unsqueeze(c, one) z = MatMul(x, W) y = Add(z, u) }"
    upload = read_upload(text(body, W=W, one=np.array([1])), input="x", fix=held("n=@n"))
    with pytest.raises(DatasetError, match=r"holds 16777217.*at most 2\^24"):
        upload.given.filled({"n": np.array([1, 2**24 + 1])}, "data")


def test_where_nothing_can_come_along_it_is_said():
    with pytest.raises(ModelError, match="has open axes"):
        read_upload(masked(), input="x", fix=held("mask=@seen", "times=3"))
    body = "f (float[4] x, float[1] s) => (float[3] y) { z = MatMul(x, W) y = Mul(z, s) }"
    with pytest.raises(SpecError, match="with which no others can come"):
        read_upload(text(body, W=W), input="x", fix=held("s=@s"), unbatched=True)


@pytest.mark.parametrize("said", ["mask", "=1", "mask="])
def test_a_value_that_is_not_said_is_refused(said):
    with pytest.raises(SpecError, match="write NAME=VALUE"):
        Held.parse(said)


@pytest.mark.parametrize("said", ["mask=1", "mask=0.5,-2", "a=b=text", "mask=@column"])
def test_a_held_value_is_written_as_it_was_read(said):
    assert str(Held.parse(said)) == said


def test_an_input_without_a_batch_axis_is_one_example():
    body = "f (float[T,4] x) => (float[1,3] y) { r = ReduceSum<keepdims=1>(x, first) y = MatMul(r, W) }"
    upload = read_upload(text(body, W=W, first=np.array([0])), unbatched=True)
    assert upload.input_shape == (1, None, 4)
    graph = make_plain(upload, batch=4, shape=(5, 4))
    x = np.random.default_rng(1).random((4, 5, 4), np.float32)
    expected = x.sum(axis=1) @ W
    scores = OnnxClassifier(graph, domain=None).logits(x)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(upload.run(runtime.Session(upload.data), x[1:2])[0], expected[1], rtol=1e-5)
