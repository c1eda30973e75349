"""ONNX Runtime's quantised operators in the standard's words, and quantised networks as its own quantiser writes them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from auditor import runtime
from auditor.autodiff.coverage import obstacles, substitutes
from auditor.classifier import OnnxClassifier
from auditor.graph.equal import rows_mix
from auditor.graph.plain import make_plain, serialise
from auditor.graph.quantised import stored_in_levels
from auditor.graph.upload import read_upload
from auditor.spec import Loss
from tests.graph.models import text

RNG = np.random.default_rng(0)
FILES = sorted((Path(__file__).parents[1] / "models" / "quantised").glob("*.onnx"))
NUMBERS = {
    "sx": np.float32(1 / 255),
    "zx": np.uint8(0),
    "sy": np.float32(2 / 255),
    "zy": np.uint8(100),
    "W": RNG.integers(0, 255, (4, 4, 1, 1)).astype(np.uint8),
    "sw": np.float32(0.01),
    "sc": np.float32(0.002),
    "zw": np.uint8(128),
    "B": RNG.integers(-99, 99, (64, 3)).astype(np.int8),
    "zb": np.int8(0),
    "C": RNG.integers(-999, 999, 3).astype(np.int32),
    "shape": np.array([-1, 64]),
    "no": np.zeros((4, 4), bool),
    "F": RNG.normal(size=(64, 3)).astype(np.float32),
}
NUMBERS["no"][1:] = True
QUANTISED = "q = QuantizeLinear(x, sx, zx) r = QuantizeLinear(x, sy, zy) "
REAL = "d = DequantizeLinear(k, sy, zy) "
ENDS = "f = Flatten(d) y = MatMul(f, F)"
FLAT = "f = Reshape(d, shape) y = MatMul(f, F)"
MS = "com.microsoft."

# How an operator is written, and the float operator whose gradient it must have (d from x, shape (N, 4, 4, 4)).
CASES = {
    "QLinearAdd": (f"k = {MS}QLinearAdd(q, sx, zx, r, sy, zy, sy, zy)", "d = Add(x, x)"),
    "QLinearMul": (f"k = {MS}QLinearMul(q, sx, zx, r, sy, zy, sy, zy)", "d = Mul(x, x)"),
    "QLinearWhere": (f"k = {MS}QLinearWhere(no, q, sx, zx, r, sy, zy, sy, zy)", "d = Identity(x)"),
    "QLinearLeakyRelu": (
        f"k = {MS}QLinearLeakyRelu<alpha=0.1>(q, sx, zx, sy, zy)",
        "d = LeakyRelu<alpha=0.1>(x)",
    ),
    "QLinearSigmoid": (f"k = {MS}QLinearSigmoid(q, sx, zx, sy, zy)", "d = Sigmoid(x)"),
    "QLinearSoftmax": (f"k = {MS}QLinearSoftmax<axis=3,opset=13>(q, sx, zx, sy, zy)", "d = Softmax<axis=3>(x)"),
    "QLinearConv": (
        f"k = {MS}QLinearConv(q, sx, zx, W, sc, zw, sy, zy)",
        "w = DequantizeLinear(W, sc, zw) d = Conv(x, w)",
    ),
}
SMALLER = {
    "QLinearConcat": (
        f"k = {MS}QLinearConcat<axis=2>(sy, zy, q, sx, zx, r, sy, zy)",
        "d = Concat<axis=2>(x, x)",
        128,
    ),
    "QLinearGlobalAveragePool": (
        f"k = {MS}QLinearGlobalAveragePool(q, sx, zx, sy, zy)",
        "d = GlobalAveragePool(x)",
        4,
    ),
    "QLinearAveragePool": (
        f"k = {MS}QLinearAveragePool<kernel_shape=[2,2],strides=[2,2]>(q, sx, zx, sy, zy)",
        "d = AveragePool<kernel_shape=[2,2],strides=[2,2]>(x)",
        16,
    ),
    "MaxPool on levels": (
        "k = MaxPool<kernel_shape=[2,2],strides=[1,1]>(r)",
        "d = MaxPool<kernel_shape=[2,2],strides=[1,1]>(x)",
        36,
    ),
    "Split on levels": (
        "k1, k = Split<axis=1,num_outputs=2>(r)",
        "d1, d = Split<axis=1,num_outputs=2>(x)",
        32,
    ),
}
# Gradients that go through whole functions of levels, which a level's width makes coarse.
COARSE = ("QLinearSigmoid", "QLinearSoftmax", "QLinearMul")


def upload_of(body, opset=21, **constants):
    used = {name: value for name, value in (NUMBERS | constants).items() if name in body}
    model = f"f (float[N,4,4,4] x) => (float[N,3] y) {{ {body} }}"
    return read_upload(text(model, opset=opset, domains=',"com.microsoft":1', **used))


def gradient(graph, x, policy="straight-through"):
    y = np.zeros(len(x), np.int64)
    return OnnxClassifier(graph, domain=None, policy=policy).gradient(x, y, Loss.LOGIT, target=y + 1).g


@pytest.mark.parametrize("name", [*CASES, *SMALLER])
def test_an_operator_on_levels_is_the_float_one_between_quantisers(name):
    body, float_body, *width = (CASES | SMALLER)[name]
    weights = {"F": RNG.normal(size=(width[0], 3)).astype(np.float32)} if width else {}
    upload = upload_of(QUANTISED + body + " " + REAL + ENDS, **weights)
    twin = make_plain(upload_of(float_body + " " + ENDS, **weights), batch=4)
    graph = make_plain(upload, batch=4)
    assert {node.domain for node in graph.model.graph} == {""}
    x = np.random.default_rng(1).uniform(0.1, 0.6, (4, 4, 4, 4)).astype(np.float32)
    (scores,) = runtime.evaluate(serialise(graph.model), {"x": x})
    alone = np.concatenate([runtime.Session(upload.data, optimise="none").run({"x": row[None]})[0] for row in x])
    level = np.abs(NUMBERS["F"] if not width else weights["F"]).sum(axis=0).max() * 2 / 255
    assert np.abs(scores - alone).max() <= level
    assert obstacles(graph, "straight-through") == []
    expected = gradient(twin, x, "true")
    atol = (0.05 if name in COARSE else 1e-4) * np.abs(expected).max()
    np.testing.assert_allclose(gradient(graph, x), expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("levels", [True, False])
def test_a_quantised_gemm_has_the_slope_of_its_weights(levels):
    """Its bias counts in steps of both scales; without a scale of its own its answer is float32."""
    out = "sy, zy) d = DequantizeLinear(k, sy, zy) y = Identity(d)" if levels else ") y = Identity(k)"
    gemm = f"{MS}QGemm(p, sx, zx, B, sw, zb, C" + (", " if levels else "")
    graph = make_plain(upload_of(f"q = QuantizeLinear(x, sx, zx) p = Reshape(q, shape) k = {gemm}{out}"), batch=4)
    x = np.random.default_rng(1).uniform(0.1, 0.3, (4, 4, 4, 4)).astype(np.float32)
    if levels:
        np.testing.assert_array_less(0, np.abs(gradient(graph, x)).sum(axis=(1, 2, 3)))
    else:
        expected = np.broadcast_to(0.01 * NUMBERS["B"][:, 1].reshape(4, 4, 4), x.shape)
        np.testing.assert_allclose(gradient(graph, x), expected, rtol=1e-4)
        (scores,) = runtime.evaluate(serialise(graph.model), {"x": np.zeros_like(x)})
        np.testing.assert_allclose(scores[0], NUMBERS["C"] * np.float32(0.01) / 255, rtol=1e-4)


@pytest.mark.parametrize("operator", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_products_of_whole_numbers_follow_their_weights(operator):
    whole = f"k = {MS}DynamicQuantizeMatMul(f, B, sw, zb)"
    if operator == "MatMulIntegerToFloat":
        whole = f"q = QuantizeLinear(f, sx, zx) k = {MS}MatMulIntegerToFloat(q, B, sx, sw, zx, zb)"
    graph = make_plain(upload_of(f"f = Reshape(x, shape) {whole} y = Identity(k)"), batch=4)
    assert graph.batch == (1 if operator == "DynamicQuantizeMatMul" else 4)
    x = np.random.default_rng(1).uniform(0.1, 0.6, (1, 4, 4, 4)).astype(np.float32)
    expected = 0.01 * NUMBERS["B"][:, 1].reshape(1, 4, 4, 4)
    inner = x < x.max()  # the largest also moves a dynamic scale
    np.testing.assert_allclose(gradient(graph, x)[inner], expected[inner], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("bits", "block", "zeros"), [(4, 16, True), (4, 32, False), (8, 16, True), (2, 16, False)])
def test_weights_of_few_bits_are_read_as_onnx_runtime_reads_them(bits, block, zeros):
    rng, blocks = np.random.default_rng(bits), -(-64 // block)
    constants = {
        "P": rng.integers(0, 256, (3, blocks, block * bits // 8)).astype(np.uint8),
        "S": rng.uniform(0.01, 0.1, 3 * blocks).astype(np.float32),
        "Z": rng.integers(0, 256, 3 * -(-blocks * bits // 8)).astype(np.uint8),
    }
    inputs = "f, P, S, Z" if zeros else "f, P, S"
    product = f"{MS}MatMulNBits<K=64,N=3,bits={bits},block_size={block}>({inputs})"
    upload = upload_of(f"f = Reshape(x, shape) k = {product} y = Identity(k)", **constants)
    graph = make_plain(upload, batch=4)  # compares with the upload
    assert obstacles(graph) == []
    assert {node.op_type for node in graph.model.graph} <= {"Reshape", "MatMul", "Identity", "Gemm"}


@pytest.mark.parametrize(
    ("scale", "axis", "block"), [((), 1, 0), ((6,), 1, 0), ((4,), 0, 0), ((2, 6), 0, 2), ((4, 3), 1, 2)]
)
def test_stored_levels_are_what_dequantizelinear_makes_of_them(scale, axis, block):
    rng = np.random.default_rng(0)
    levels = rng.integers(-8, 8, (4, 6)).astype(np.int8)
    scales, zero = rng.random(scale).astype(np.float32), rng.integers(-8, 8, scale).astype(np.int8)
    body = f"w = DequantizeLinear<axis={axis},block_size={block}>(L, S, Z) y = MatMul(x, w)"
    data = text(f"f (float[N,4] x) => (float[N,6] y) {{ {body} }}", opset=21, L=levels, S=scales, Z=zero)
    graph = make_plain(read_upload(data), batch=2)
    (node,) = (n for n in graph.model.graph if n.op_type == "DequantizeLinear")
    (identity,) = runtime.evaluate(serialise(graph.model), {"x": np.eye(4, dtype=np.float32)[:2]})
    np.testing.assert_allclose(stored_in_levels(node.outputs[0])[:2], identity, rtol=1e-6)


def test_blocked_quantisers_of_activations_pass_the_gradient_through():
    body = (
        "f = Reshape(x, shape) q = QuantizeLinear<axis=1,block_size=16>(f, S, Z) "
        "d = DequantizeLinear<axis=1,block_size=16>(q, S, Z) y = MatMul(d, F)"
    )
    graph = make_plain(upload_of(body, S=np.full((1, 4), 0.01, np.float32), Z=np.zeros((1, 4), np.uint8)), batch=1)
    x = np.random.default_rng(1).random((1, 4, 4, 4), np.float32)
    expected = np.broadcast_to(NUMBERS["F"][:, 1].reshape(4, 4, 4), x.shape)
    np.testing.assert_allclose(gradient(graph, x), expected, rtol=1e-4)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_form_of_a_quantised_network_is_followed(path):
    upload = read_upload(path.read_bytes())
    graph = make_plain(upload, batch=4)
    assert graph.batch == (1 if "dynamic" in path.name else 4)
    assert {node.domain for node in graph.model.graph} == {""}
    surrogates = substitutes(graph, "straight-through")
    assert bool(surrogates) == ("nbits" not in path.name)
    x = np.random.default_rng(1).uniform(0.2, 0.8, (4, *graph.shape)).astype(np.float32)
    classifier = OnnxClassifier(graph, domain=(0, 1), policy="straight-through")
    y = classifier.logits(x).argmax(axis=1)

    def climbed(direction):
        return classifier.gradient(x + np.float32(0.01) * direction, y, Loss.MARGIN).loss

    up = np.sign(classifier.gradient(x, y, Loss.MARGIN).g)
    rng = np.random.default_rng(2)
    chance = [climbed(rng.choice(np.float32([-1, 1]), x.shape)) for _ in range(8)]
    assert (climbed(up) > np.max(chance, axis=0)).all()


def test_a_model_whose_scale_depends_on_its_neighbours_runs_alone():
    """Neighbours that change the scores by less than the tolerance of quantised models are found out too."""
    body = "q, s, z = DynamicQuantizeLinear(f) d = DequantizeLinear(q, s, z) y = MatMul(d, F)"
    upload = upload_of("f = Reshape(x, shape) " + body)
    assert make_plain(upload, batch=4).batch == 1
    alone = make_plain(upload, batch=1)
    assert not rows_mix(serialise(alone.model), batch=1, shape=alone.shape)


def test_the_files_are_what_the_script_writes():
    assert {path.name.split(".")[1] for path in FILES} == {"qdq", "qoperator", "int4", "dynamic", "nbits"}
    operators = {node.op_type for path in FILES for node in onnx.load(path).graph.node}
    assert {"QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearConcat", "MatMulNBits"} <= operators
    assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DequantizeLinear"} <= operators
