"""Reverse mode through If, Loop and Scan, against central differences in float64 and in ONNX Runtime."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from auditor import runtime
from auditor.autodiff.gradient import backward
from auditor.graph.build import Builder
from auditor.graph.precision import in_single_precision
from tests.autodiff import oracle

STEP = 1e-6

SCAN = """
    z = Constant<value = double[3] {0.5, 0.1, -0.2}>()
    last, y = Scan<num_scan_inputs=1, body = step (double[3] s, double[3] a) => (double[3] t, double[2] o) {
        u = Mul(s, a) v = MatMul(u, w) t = Tanh(v) o = MatMul(t, m) }>(z, x)"""
BRANCHES = """
    total = ReduceSum<keepdims=0>(x) zero = Constant<value = double {0}>() c = Greater(total, zero)
    u = Exp(x)
    y = If(c)<then_branch = then () => (double[4,3] p) { p = Mul(u, x) },
              else_branch = other () => (double[4,3] q) { r = Sin(x) q = MatMul(r, w) }>"""
# The number of steps depends on the input; the body reads x outside and passes a state on as it is.
LOOP = """
    large = Constant<value = int64 {20}>() on = Constant<value = bool {1}>()
    z = Constant<value = double[4,3] {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}>()
    y, same = Loop<body = step (int64 i, bool going, double[4,3] s, double[4,3] k) =>
                   (bool still, double[4,3] t, double[4,3] kept) {
        half = Constant<value = double {0.5}>() limit = Constant<value = double {60}>()
        a = Cast<to=11>(i) b = Mul(a, half) d = Sin(x) e = Add(d, b) f = Mul(s, e) t = Add(f, k)
        n = ReduceL2<keepdims=0>(t) still = Less(n, limit) kept = Identity(k) }>(large, on, z, x)"""
COUNTED = """
    five = Constant<value = int64 {5}>() on = Constant<value = bool {1}>()
    last, y = Loop<body = step (int64 i, bool going, double[4,3] s) => (bool still, double[4,3] t, double[3] row) {
        still = Identity(going) v = MatMul(s, w) t = Tanh(v) one = Constant<value = int64[1] {0}>()
        sum = ReduceSum<keepdims=0>(t, one) row = Mul(sum, sum) }>(five, on, x)"""
NESTED = """
    z = Constant<value = double[3] {0.5, 0.1, -0.2}>() zero = Constant<value = double {0}>()
    last, y = Scan<num_scan_inputs=1, body = step (double[3] s, double[3] a) => (double[3] t, double[3] o) {
        sum = ReduceSum<keepdims=0>(a) nought = Constant<value = double {0}>() c = Greater(sum, nought)
        t = If(c)<then_branch = then () => (double[3] p) { p = Mul(s, a) },
                  else_branch = other () => (double[3] q) { q = Sub(a, s) }>
        o = Exp(t) }>(z, x)"""
BACKWARDS = SCAN.replace(
    "num_scan_inputs=1", "num_scan_inputs=1, scan_input_directions=[1], scan_output_directions=[1]"
)
CASES = {
    "scan": (SCAN, "double[3] last, double[4,2] y"),
    "scan backwards": (BACKWARDS, "double[3] last, double[4,2] y"),
    "branches": (BRANCHES, "double[4,3] y"),
    "loop": (LOOP, "double[4,3] y, double[4,3] same"),
    "counted loop": (COUNTED, "double[4,3] last, double[5,3] y"),
    "nested": (NESTED, "double[3] last, double[4,3] y"),
}


def model_of(name):
    body, outputs = CASES[name]
    text = f'<ir_version: 10, opset_import: ["":26]> f (double[4,3] x, double[3,3] w, double[3,2] m) => ({outputs}) {{ {body} }}'
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True, data_prop=True)


def with_gradient(proto):
    """The cotangents of the inputs that the outputs depend on, under the seeds g0, g1, …; and the names of these inputs."""
    model = ir.from_proto(proto)
    graph, op = model.graph, Builder(model.graph)
    seeds = {y: ir.Value(name=f"g{i}", type=y.type, shape=y.shape) for i, y in enumerate(graph.outputs)}
    found = {
        x: g for x, g in zip(graph.inputs, backward(op, seeds, list(graph.inputs)), strict=True) if g is not None
    }
    graph.outputs[:] = [op.Identity(g) for g in found.values()]
    graph.inputs.extend(seeds.values())
    for g, x in zip(graph.outputs, found, strict=True):
        g.type, g.shape = x.type, x.shape
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto, [x.name for x in found]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_agrees_with_differences(name, sign):
    rng = np.random.default_rng(0)
    proto = model_of(name)
    feeds = {"x": rng.normal(size=(4, 3)) + 0.1 * sign, "w": rng.normal(size=(3, 3)), "m": rng.normal(size=(3, 2))}
    outputs = oracle.evaluate(proto, feeds)
    assert all(np.isfinite(y).all() for y in outputs)
    g = [rng.normal(size=y.shape) for y in outputs]
    gradient, names = with_gradient(proto)
    assert names[0] == "x"
    seeds = feeds | {f"g{i}": a for i, a in enumerate(g)}
    cotangents = oracle.evaluate(gradient, seeds)
    for x, cotangent in zip(names, cotangents, strict=True):
        v = rng.normal(size=feeds[x].shape)
        up, down = (oracle.evaluate(proto, feeds | {x: feeds[x] + s * STEP * v}) for s in (1, -1))
        slope = sum(float(np.sum(a * (p - q))) for a, p, q in zip(g, up, down, strict=True)) / (2 * STEP)
        assert float(np.sum(cotangent * v)) == pytest.approx(slope, rel=1e-6, abs=1e-6), x
    single = in_single_precision(gradient).SerializeToString()
    wanted = {i.name for i in gradient.graph.input}
    got = runtime.evaluate(single, {n: a.astype(np.float32) for n, a in seeds.items() if n in wanted})
    for a, b in zip(got, cotangents, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
