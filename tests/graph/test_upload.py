import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from auditor.errors import ModelError
from auditor.graph.plain import make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.runtime import evaluate
from tests.graph.models import WEIGHT, convolution, linear, text, value

X = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)


def test_an_upload_says_what_it_is():
    upload = read_upload(convolution())
    assert (upload.input, upload.input_type, upload.input_shape) == ("x", "tensor(float)", (None, 3, 6, 6))
    assert (upload.output, upload.scores, upload.classes) == ("y", "logits", 5)
    assert (upload.opset, upload.fixed_batch, upload.layout) == (17, None, "NCHW")
    assert upload.operators == {"Conv": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 1}
    assert upload.parameters == 4 * 3 * 3 * 3 + 4 * 5


@pytest.mark.parametrize(
    ("tail", "scores"),
    [
        ("y = Identity(z)", "logits"),
        ("y = Softmax<axis=1>(z)", "probabilities"),
        ("s = Softmax<axis=1>(z) y = Identity(s)", "probabilities"),
        ("u = Unsqueeze(z, two) s = Softmax<axis=1>(u) y = Squeeze(s, two)", "probabilities"),
        ("y = LogSoftmax<axis=1>(z)", "logits"),
        ("y = Sigmoid(z)", "probabilities"),
    ],
)
def test_the_kind_of_scores_is_traced(tail, scores):
    assert read_upload(linear(tail, two=np.array([2]))).scores == scores


def test_one_sigmoid_column_is_two_classes():
    upload = read_upload(linear("y = Sigmoid(z)", classes=1))
    (p,) = evaluate(upload.data, {"x": X})
    assert (upload.scores, upload.classes) == ("probabilities", 2)
    assert upload.class_scores(p).shape == (5, 2)
    assert (upload.class_scores(p).argmax(axis=1) == (p[:, 0] > 0.5)).all()


def test_half_a_probability_is_a_tie():
    upload = read_upload(linear("y = Sigmoid(z)", classes=1))
    assert upload.class_scores(np.array([[0.5]], np.float32)).tolist() == [[0.5, 0.5]]


def test_one_column_without_sigmoid_is_a_regression():
    with pytest.raises(ModelError, match="regression"):
        read_upload(linear(classes=1))


@pytest.mark.parametrize("tail", ["y = Identity(z)", "y = Sigmoid(z)"])
def test_a_threshold_makes_one_column_two_classes(tail):
    upload = read_upload(linear(tail, classes=1), threshold=0.25)
    (numbers,) = evaluate(upload.data, {"x": X})
    assert (upload.classes, upload.scores, upload.binary) == (2, "logits", False)
    assert (upload.class_scores(numbers).argmax(axis=1) == (numbers[:, 0] > 0.25)).all()
    graph = make_plain(upload, batch=5)
    (logits,) = evaluate(serialise(graph.model), {"x": X})
    if "Sigmoid" in tail:  # a Sigmoid is left out, and the threshold moves to where it was
        logits = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(logits, np.column_stack([np.full(5, 0.25), numbers]), rtol=1e-5)


def test_a_threshold_is_for_a_single_number():
    with pytest.raises(ModelError, match="--threshold is for an output of one number"):
        read_upload(linear(), threshold=0.25)


def _with_outputs(tail: str, *outputs: onnx.ValueInfoProto, **weights) -> bytes:
    model = onnx.load_from_string(linear(tail, **weights))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model.SerializeToString()


SCORES, LABEL = value("y", ["N", 3]), value("label", ["N"], TensorProto.INT64)
BOTH = "y = Softmax<axis=1>(z) label = ArgMax<axis=1, keepdims=0>(y)"


def test_scores_are_chosen_before_labels():
    assert read_upload(_with_outputs(BOTH, LABEL, SCORES)).output == "y"


def test_a_label_alone_is_told_apart():
    upload = read_upload(_with_outputs(BOTH, LABEL))
    (label,) = evaluate(upload.data, {"x": X})
    assert (upload.scores, upload.classes) == ("label", 3)
    assert (upload.class_scores(label).argmax(axis=1) == label).all()
    assert (upload.class_scores(label).sum(axis=1) == 1).all()


def test_two_outputs_of_scores_are_listed_and_can_be_named():
    data = _with_outputs("y = Relu(z) other = Neg(z)", SCORES, value("other", ["N", 3]))
    with pytest.raises(ModelError, match=r"'y'.*'other'.*--output"):
        read_upload(data)
    assert read_upload(data, output="other").output == "other"
    with pytest.raises(ModelError, match="no output 'third'"):
        read_upload(data, output="third")


def test_features_beside_the_scores_are_no_second_candidate():
    features = "y = Relu(z) f = Reshape(x, square)"
    data = _with_outputs(features, SCORES, value("f", ["N", 2, 2]), square=np.array([-1, 2, 2]))
    assert read_upload(data).output == "y"


def test_an_input_handed_through_is_no_score():
    with pytest.raises(ModelError, match="row of class scores"):
        read_upload(text("f (float[N,4] x) => (float[N,4] x) { y = Relu(x) }"))


def test_an_image_of_scores_is_no_classifier():
    with pytest.raises(ModelError, match="row of class scores"):
        read_upload(text("f (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"))


def test_scores_may_have_trailing_ones():
    body = "f (float[N,4] x) => (float[N,3,1,1] y) { z = MatMul(x, W) y = Reshape(z, long) }"
    upload = read_upload(text(body, W=WEIGHT, long=np.array([-1, 3, 1, 1])))
    (y,) = evaluate(upload.data, {"x": X})
    assert upload.classes == 3
    assert np.allclose(upload.class_scores(y), X @ WEIGHT, atol=1e-5)


def test_scores_of_a_fixed_single_example_may_lack_the_batch_axis():
    body = "f (float[1,4] x) => (float[3] y) { z = MatMul(x, W) y = Squeeze(z, zero) }"
    upload = read_upload(text(body, W=WEIGHT, zero=np.array([0])))
    (y,) = evaluate(upload.data, {"x": X[:1]})
    assert (upload.classes, upload.fixed_batch, upload.class_scores(y).shape) == (3, 1, (1, 3))


def test_two_inputs_are_listed():
    body = "f (float[N,4] x, float[N,4] w) => (float[N,3] y) { s = Add(x, w) y = MatMul(s, W) }"
    with pytest.raises(ModelError, match=r"2 inputs: 'x' \(N, 4\).*'w'.*--input"):
        read_upload(text(body, W=WEIGHT))
    with pytest.raises(ModelError, match="no input 'v'"):
        read_upload(text(body, W=WEIGHT), input="v")


def test_weights_listed_as_inputs_are_no_inputs():
    model = onnx.load_from_string(linear(opset=8, ir_version=3))
    model.graph.input.append(value("W", [4, 3]))
    assert read_upload(model.SerializeToString()).input == "x"


@pytest.mark.parametrize("kind", ["string", "int64"])
def test_inputs_that_are_no_floating_point_numbers_are_refused(kind):
    body = f"f ({kind}[N,4] x) => (float[N,4] y) {{ y = Cast<to=1>(x) }}"
    with pytest.raises(ModelError, match=f"tensor\\({kind}\\) holds neither floats nor levels"):
        read_upload(text(body))


def test_an_input_without_batch_axis_is_refused():
    with pytest.raises(ModelError, match="batch axis"):
        read_upload(text("f (float[4] x) => (float[3] y) { y = MatMul(x, W) }", W=WEIGHT))


def test_a_model_that_onnx_runtime_cannot_run_is_refused():
    with pytest.raises(ModelError, match="ONNX Runtime cannot run"):
        read_upload(
            text(
                "f (float[N,4] x) => (float[N,3] y) { r = Reshape(x, bad) y = MatMul(r, W) }",
                W=WEIGHT,
                bad=np.array([7, -1]),
            )
        )


@pytest.mark.parametrize(
    ("body", "layout"),
    [
        ("f (float[N,3,8,8] x) => (float[N,192] y) { y = Flatten(x) }", "NCHW"),
        ("f (float[N,8,8,3] x) => (float[N,192] y) { y = Flatten(x) }", "NHWC"),
        ("f (float[N,3,8,3] x) => (float[N,72] y) { y = Flatten(x) }", None),
        ("f (float[N,8,8,8] x) => (float[N,512] y) { y = Flatten(x) }", None),
        ("f (float[N,3,8,3] x) => (float[N,72] y) { t = Transpose<perm=[0,3,1,2]>(x) y = Flatten(t) }", "NHWC"),
        ("f (float[N,192] x) => (float[N,192] y) { y = Identity(x) }", None),
    ],
)
def test_the_layout_of_images_is_told_where_it_is_plain(body, layout):
    assert read_upload(text(body)).layout == layout


def test_a_declared_layout_wins():
    assert read_upload(convolution(), layout="NHWC").layout == "NHWC"


def test_scores_in_dictionaries_become_columns():
    scores = helper.make_node("Softmax", ["z"], ["p"], axis=1)
    zipped = helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    product = helper.make_node("MatMul", ["x", "W"], ["z"])
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    graph = helper.make_graph(
        [product, scores, zipped], "g", [value("x", ["N", 4])], [output], [numpy_helper.from_array(WEIGHT, "W")]
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    upload = read_upload(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    (dictionaries,) = evaluate(upload.data, {"x": X})
    z = np.exp(X @ WEIGHT)
    assert (upload.scores, upload.classes) == ("probabilities", 3)
    assert np.allclose(upload.class_scores(dictionaries), z / z.sum(axis=1, keepdims=True), atol=1e-5)
