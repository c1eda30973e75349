import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from auditor.autodiff.coverage import obstacles
from auditor.errors import ModelError
from auditor.graph.equal import probes
from auditor.graph.normalise import normalise
from auditor.graph.plain import make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.runtime import evaluate
from auditor.spec import Normalisation
from tests.graph.models import KERNEL, WEIGHT, attention, convolution, linear, text, value

BATCH = 6


def logits(graph, x: np.ndarray) -> np.ndarray:
    return evaluate(serialise(graph.model), {graph.x.name: x})[0]


def operators(graph) -> set[str]:
    return {node.op_type for node in graph.model.graph}


def example_batch(graph) -> np.ndarray:
    return np.random.default_rng(5).random((graph.batch, *graph.shape), np.float32)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26])
def test_every_opset_becomes_the_same_plain_graph(opset):
    upload = read_upload(convolution(opset=opset, tail="g = Flatten(f) y = MatMul(g, V)"))
    graph = make_plain(upload, batch=BATCH)
    x = example_batch(graph)
    assert graph.model.opset_imports == {"": 26}
    assert (graph.batch, graph.shape, graph.classes) == (BATCH, (3, 6, 6), 5)
    assert np.allclose(logits(graph, x), evaluate(upload.data, {"x": x})[0], atol=1e-5)


def test_softmax_before_opset_13_spans_all_axes_behind_its_own():
    body = """f (float[N,2,4] x) => (float[N,3] y) {
        s = Softmax<axis=1>(x) f = Flatten(s) y = MatMul(f, W) }"""
    upload = read_upload(text(body, opset=11, W=np.concatenate([WEIGHT, -WEIGHT])))
    graph = make_plain(upload, batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), evaluate(upload.data, {"x": x})[0], atol=1e-6)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    "tail",
    [
        "y = Softmax<axis=1>(z)",
        "y = LogSoftmax<axis=1>(z)",
        "y = Sigmoid(z)",
        "s = Softmax<axis=1>(z) y = Identity(s)",
        "u = Reshape(z, long) s = Softmax<axis=1>(u) y = Flatten(s)",
        "s = Softmax<axis=-1>(z) c = Cast<to=11>(s) y = Cast<to=1>(c)",
    ],
)
def test_probabilities_are_traced_back_to_logits(tail, opset):
    graph = make_plain(read_upload(linear(tail, opset=opset, long=np.array([-1, 3, 1, 1]))), batch=BATCH)
    x = example_batch(graph)
    assert operators(graph) <= {"MatMul", "Gemm", "Reshape", "Flatten"}
    assert np.allclose(logits(graph, x), x @ WEIGHT, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 20])
def test_a_kernel_that_onnxruntime_left_behind_keeps_its_opset(opset):
    body = "f (float[N,3,2,4] x) => (float[N,3] y) { p = GlobalLpPool<p=3>(x) y = Flatten(p) }"
    upload = read_upload(text(body, opset=opset))
    graph = make_plain(upload, batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), evaluate(upload.data, {"x": x})[0], atol=1e-5)
    assert obstacles(graph) == []


def test_a_softmax_over_the_batch_stays_and_runs_alone():
    graph = make_plain(read_upload(linear("y = Softmax<axis=0>(z)")), batch=3)
    assert (graph.batch, "Softmax" in operators(graph)) == (1, True)


def test_rows_that_mix_in_a_fixed_batch_are_refused():
    with pytest.raises(ModelError, match="each example alone"):
        make_plain(read_upload(linear("y = Softmax<axis=0>(z)", batch="3")), batch=3)


def test_a_binary_logit_becomes_two_columns():
    graph = make_plain(read_upload(linear("y = Sigmoid(z)", classes=1)), batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), np.concatenate([np.zeros((BATCH, 1)), x @ WEIGHT[:, :1]], axis=1), atol=1e-6)


def test_a_label_is_traced_back_to_the_scores_that_it_is_the_largest_of():
    model = onnx.load_from_string(linear("y = ArgMax<axis=1>(z)"))
    model.graph.output[0].CopyFrom(value("y", ["N", 1], onnx.TensorProto.INT64))
    graph = make_plain(read_upload(model.SerializeToString()), batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), x @ WEIGHT, atol=1e-6)


def test_functions_are_inlined():
    model = onnx.load_from_string(linear("y = own.Twice(z)", domains=', "own":1'))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    graph = make_plain(read_upload(model.SerializeToString()), batch=BATCH)
    x = example_batch(graph)
    assert {node.domain for node in graph.model.graph} == {""}
    assert np.allclose(logits(graph, x), 2 * x @ WEIGHT, atol=1e-5)


def test_shape_arithmetic_disappears():
    body = """f (float[N,4] x) => (float[N,3] y) {
        s = Shape(x) n = Gather(s, zero) r = Unsqueeze(n, zeros) t = Concat<axis=0>(r, minus)
        f = Reshape(x, t) y = MatMul(f, W) }"""
    weights = {"zero": np.array(0), "zeros": np.array([0]), "minus": np.array([-1]), "W": WEIGHT}
    graph = make_plain(read_upload(text(body, **weights)), batch=BATCH)
    assert not operators(graph) & {"Shape", "Gather", "Concat", "Unsqueeze"}


def test_every_float_value_has_a_static_shape():
    graph = make_plain(read_upload(convolution()), batch=BATCH)
    for node in graph.model.graph:
        assert all(y.shape is not None and y.shape.is_static() for y in node.outputs)


def test_a_shape_that_depends_on_the_values_is_refused():
    body = """f (float[N,64] x) => (float[N,3] y) {
        r = Relu(x) n = NonZero(r) c = Cast<to=1>(n) s = ReduceSum<keepdims=0>(c) z = MatMul(x, W) y = Add(z, s) }"""
    with pytest.raises(ModelError, match=r"Cast.*depends on the input's values"):
        make_plain(read_upload(text(body, W=np.tile(WEIGHT, (16, 1)))), batch=BATCH)


def test_open_axes_take_the_examples_shape():
    data = convolution()
    model = onnx.load_from_string(data)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    upload = read_upload(model.SerializeToString())
    assert make_plain(upload, batch=2, shape=(3, 9, 7)).shape == (3, 9, 7)
    with pytest.raises(ModelError, match=r"3 x \? x \?"):
        make_plain(upload, batch=2)
    with pytest.raises(ModelError, match=r"not 4 x 6 x 6"):
        make_plain(upload, batch=2, shape=(4, 6, 6))


@pytest.mark.parametrize(
    "data",
    [
        convolution(batch=1),
        attention(batch=1, sequence_first=False),
        attention(batch=1, sequence_first=True),
        attention(batch=2, sequence_first=True),
        text(
            """f (float[1,5,4] x) => (float[1,3] y) {
                t = Transpose<perm=[1,0,2]>(x) "", h = GRU<hidden_size=3>(t, G, R, "", "", start) y = Squeeze(h, first) }""",
            G=np.tile(WEIGHT.T, (3, 1))[None],
            R=np.tile(WEIGHT[:3].T, (3, 1))[None],
            start=np.zeros((1, 1, 3), np.float32),
            first=np.array([0]),
        ),
        text("f (float[1,4] x) => (float[1,3] y) { f = Flatten<axis=0>(x) y = MatMul(f, W) }", W=WEIGHT),
        text(
            "f (float[1,4] x) => (float[1,3] y) { r = Reshape(x, to) s = Reshape(r, fro) y = MatMul(s, W) }",
            W=WEIGHT,
            to=np.array([2, 2]),
            fro=np.array([1, -1]),
        ),
        text(
            "f (float[1,4] x) => (float[1,3] y) { r = Reshape(x, to) m = Add(r, mask) s = Reshape(m, fro) y = MatMul(s, W) }",
            W=WEIGHT,
            to=np.array([2, 2]),
            mask=np.array([[1, 2], [3, 4]], np.float32),
            fro=np.array([1, 4]),
        ),
    ],
    ids=[
        "convolution",
        "batch first",
        "sequence first",
        "batch of two",
        "last state",
        "flatten",
        "merged axes",
        "mask per window",
    ],
)
def test_a_fixed_batch_becomes_the_batch_of_the_plan(data):
    upload = read_upload(data)
    graph = make_plain(upload, batch=BATCH)
    assert graph.batch == BATCH
    x = example_batch(graph)
    fixed = upload.fixed_batch
    alone = [evaluate(data, {"x": np.repeat(row[None], fixed, 0)})[0][:1] for row in x]
    assert np.allclose(logits(graph, x), np.concatenate(alone), atol=1e-5)


def test_a_batch_that_cannot_be_changed_stays():
    body = "f (float[1,4] x) => (float[1,3] y) { m = ReduceMax<keepdims=1>(x) c = Sub(x, m) y = MatMul(c, W) }"
    assert make_plain(read_upload(text(body, W=WEIGHT)), batch=BATCH).batch == 1


def test_rows_that_see_each_other_run_alone():
    body = """f (float[N,4] x) => (float[N,3] y) {
        q, s, p = DynamicQuantizeLinear(x) d = DequantizeLinear(q, s, p) y = MatMul(d, W) }"""
    assert make_plain(read_upload(text(body, W=WEIGHT)), batch=BATCH).batch == 1


CONTRIB = {
    "Gelu": "c = com.microsoft.Gelu(z)",
    "BiasGelu": "c = com.microsoft.BiasGelu(z, b)",
    "FastGelu": "c = com.microsoft.FastGelu(z, b)",
    "QuickGelu": "c = com.microsoft.QuickGelu<alpha=1.5>(z)",
    "FusedMatMul": "c = com.microsoft.FusedMatMul<alpha=0.5, transB=1>(z, S)",
    "FusedGemm": 'c = com.microsoft.FusedGemm<activation="Relu", transB=1>(z, S, b)',
    "SkipLayerNormalization": "c = com.microsoft.SkipLayerNormalization<epsilon=1.0e-5>(z, z, b, b)",
}


@pytest.mark.parametrize("operator", CONTRIB)
@pytest.mark.parametrize("opset", [12, 17])
def test_fused_operators_are_taken_apart(operator, opset):
    weights = {"b": np.array([0.5, 1, 2], np.float32), "S": WEIGHT[:3]}
    data = linear(CONTRIB[operator] + " y = Neg(c)", opset=opset, domains=', "com.microsoft":1', **weights)
    graph = make_plain(read_upload(data), batch=BATCH)
    x = example_batch(graph)
    assert {node.domain for node in graph.model.graph} == {""}
    assert np.allclose(logits(graph, x), evaluate(data, {"x": x})[0], atol=1e-5)


def test_a_fused_convolution_is_taken_apart():
    body = """f (float[N,3,6,6] x) => (float[N,4] y) {
        c = com.microsoft.FusedConv<activation="LeakyRelu", activation_params=[0.2], kernel_shape=[3,3]>(x, K)
        p = GlobalAveragePool(c) y = Flatten(p) }"""
    data = text(body, domains=', "com.microsoft":1', K=KERNEL)
    graph = make_plain(read_upload(data), batch=BATCH)
    x = example_batch(graph)
    assert "LeakyRelu" in operators(graph)
    assert np.allclose(logits(graph, x), evaluate(data, {"x": x})[0], atol=1e-5)


@pytest.mark.parametrize("operator", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_operators_that_came_before_their_standard_are_read(operator):
    data = linear(f"n = {operator}<axis=-1>(z, b) y = Neg(n)", opset=12, b=np.array([0.5, 1, 2], np.float32))
    graph = make_plain(read_upload(data), batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), evaluate(data, {"x": x})[0], atol=1e-5)


@pytest.mark.parametrize("post_transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_a_linear_classifier_of_scikit_learn_is_taken_apart(post_transform):
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.1, 0.2, 0.3, 0.4], scale=4 * [2.0]),
        helper.make_node(
            "LinearClassifier",
            ["s"],
            ["label", "p"],
            domain="ai.onnx.ml",
            coefficients=WEIGHT.T.ravel().tolist(),
            intercepts=[0.5, -0.5, 0.25],
            classlabels_ints=[0, 1, 2],
            post_transform=post_transform,
        ),
        helper.make_node("Normalizer", ["p"], ["y"], domain="ai.onnx.ml", norm="L1"),
    ]
    if post_transform == "NONE":
        nodes[-1] = helper.make_node("Identity", ["p"], ["y"])
    outputs = [value("label", ["N"], onnx.TensorProto.INT64), value("y", ["N", 3])]
    model = helper.make_graph(nodes, "g", [value("x", ["N", 4])], outputs)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    data = helper.make_model(model, opset_imports=imports, ir_version=8).SerializeToString()
    graph = make_plain(read_upload(data), batch=BATCH)
    x = example_batch(graph)
    expected = 2 * (x - np.array([0.1, 0.2, 0.3, 0.4])) @ WEIGHT + np.array([0.5, -0.5, 0.25])
    assert operators(graph) == {"Sub", "Mul", "Gemm"}
    assert np.allclose(logits(graph, x), expected, atol=1e-5)


def test_other_fused_operators_stay_for_coverage_to_name():
    tail = "e = com.microsoft.ExpandDims(z, one) y = Squeeze(e, ones)"
    data = linear(tail, domains=', "com.microsoft":1', one=np.array(1, np.int32), ones=np.array([1]))
    graph = make_plain(read_upload(data), batch=BATCH)
    assert ("com.microsoft", "ExpandDims") in {(node.domain, node.op_type) for node in graph.model.graph}


@pytest.mark.parametrize("kind", [("float16", np.float16), ("double", np.float64)], ids=["half", "double"])
def test_other_precisions_take_and_give_float32(kind):
    name, dtype = kind
    body = f"f ({name}[N,4] x) => ({name}[N,3] y) {{ z = MatMul(x, W) y = Softmax<axis=1>(z) }}"
    upload = read_upload(text(body, W=WEIGHT.astype(dtype)))
    graph = make_plain(upload, batch=BATCH)
    x = example_batch(graph)
    assert upload.input_dtype == dtype
    assert logits(graph, x).dtype == np.float32
    assert np.allclose(logits(graph, x), x @ WEIGHT, atol=2e-3)
    assert all(y.dtype == ir.DataType.FLOAT for node in graph.model.graph for y in node.outputs)


def test_a_number_beyond_single_precision_stays_finite():
    body = "f (double[N,4] x) => (double[N,3] y) { s = MatMul(x, W) m = Mul(mask, zero) y = Add(s, m) }"
    weights = {"W": WEIGHT.astype(np.float64), "mask": np.full(3, -1e300), "zero": np.zeros(1)}
    graph = make_plain(read_upload(text(body, **weights)), batch=BATCH)
    x = example_batch(graph)
    assert np.allclose(logits(graph, x), x @ WEIGHT, atol=1e-5)


def test_names_of_the_upload_cannot_collide_with_ours():
    body = "f (float[N,4] logits) => (float[N,3] x) { v_Sub_0 = MatMul(logits, const_0_1) x = Relu(v_Sub_0) }"
    upload = read_upload(text(body, const_0_1=WEIGHT))
    graph = make_plain(upload, batch=BATCH, normalisation=Normalisation(mean=(0.5,), std=(2.0,)))
    assert (graph.x.name, graph.logits.name) == ("x", "logits")
    onnx.checker.check_model(serialise(graph.model), full_check=True)


def test_an_upgrade_that_changes_the_scores_is_found(monkeypatch):
    from auditor.graph import plain

    def broken(model):
        model = raise_opset(model)
        next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Neg"
        return model

    raise_opset = plain.raise_opset
    monkeypatch.setattr(plain, "raise_opset", broken)
    with pytest.raises(ModelError, match="other scores"):
        make_plain(read_upload(convolution()), batch=BATCH)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_declared_normalisation_is_the_same_in_both_places_bit_for_bit(layout):
    shape, count = ((3, 6, 5), 90) if layout == "NCHW" else ((6, 5, 3), 90)
    body = f"f (float[N,{','.join(map(str, shape))}] x) => (float[N,{count}] y) {{ y = Flatten(x) }}"
    normalisation = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))
    graph = make_plain(read_upload(text(body)), batch=BATCH, normalisation=normalisation)
    x = np.resize(probes(graph.shape), (BATCH, *graph.shape))
    assert np.array_equal(logits(graph, x), normalise(x, normalisation, layout).reshape(BATCH, -1))


@pytest.mark.parametrize(
    ("operator", "opset", "batch"),
    [
        ("MeanVarianceNormalization(c)", 9, 1),  # its default axes mix the examples of a batch
        ("MeanVarianceNormalization<axes=[2,3]>(c)", 13, BATCH),
        ("GroupNormalization<num_groups=2>(c, scale, bias)", 21, BATCH),
    ],
)
def test_normalisations_whose_shape_the_standard_does_not_infer_are_made_plain(operator, opset, batch):
    rng = np.random.default_rng(0)
    weights = {
        "scale": rng.random(4, np.float32),
        "bias": rng.random(4, np.float32),
        "V": np.eye(4, 5, dtype=np.float32),
    }
    data = text(
        f"""f (float[N,3,6,6] x) => (float[N,5] y) {{
        c = Conv(x, K) n = {operator} r = Relu(n) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, V) }}""",
        opset=opset,
        K=KERNEL,
        **weights,
    )
    graph = make_plain(read_upload(data), batch=BATCH)
    assert graph.batch == batch
    x = example_batch(graph)
    alone = [evaluate(data, {"x": row[None]})[0] for row in x]
    assert np.allclose(logits(graph, x), np.concatenate(alone), atol=1e-5)
