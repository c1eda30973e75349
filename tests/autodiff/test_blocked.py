"""The pass that keeps images in the blocked layout changes speed, never values."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from auditor.autodiff.blocked import keep_blocked
from auditor.autodiff.gradient import backward
from auditor.graph.build import Builder, shape_of
from auditor.graph.plain import serialise
from auditor.runtime import evaluate

CHANNELS, SIZE = 16, 6


def network() -> ir.Model:
    """A residual block with squeeze and excitation between a strided stem and a global mean."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 21]>
        net (float[2, 3, {2 * SIZE}, {2 * SIZE}] x) => (float[2, {CHANNELS}] z) {{
            stem = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w_stem)
            trunk = Relu (stem)
            wide = Conv (trunk, w_wide)
            gate_in = Sigmoid (wide)
            silu = Mul (wide, gate_in)
            spatial = Constant <value_ints = [2, 3]> ()
            squeezed = ReduceMean <keepdims = 1> (silu, spatial)
            excited = Conv (squeezed, w_gate)
            gate = Sigmoid (excited)
            scaled = Mul (silu, gate)
            branch = Conv (scaled, w_out)
            low = Constant <value_float = 0.0> ()
            high = Constant <value_float = 1.0> ()
            clipped = Clip (branch, low, high)
            joined = Add (trunk, clipped)
            half = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (joined, w_half)
            top = Relu (half)
            z = ReduceMean <keepdims = 0> (top, spatial)
        }}"""
    )
    rng = np.random.default_rng(0)
    shapes = {
        "w_stem": (CHANNELS, 3, 3, 3),
        "w_wide": (2 * CHANNELS, CHANNELS, 1, 1),
        "w_gate": (2 * CHANNELS, 2 * CHANNELS, 1, 1),
        "w_out": (CHANNELS, 2 * CHANNELS, 1, 1),
        "w_half": (CHANNELS, CHANNELS, 3, 3),
    }
    for name, shape in shapes.items():
        weights = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights.astype(np.float32), name))
    model = onnx.inliner.inline_local_functions(model)
    from onnxscript.optimizer import optimize_ir

    plain = ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))
    optimize_ir(plain)
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(plain), data_prop=True))


def differentiated() -> tuple[ir.Model, Builder]:
    model = network()
    op = Builder(model.graph)
    (z,), (x,) = model.graph.outputs, model.graph.inputs
    ones = op.Expand(op.const(1.0, like=z), op.ints(shape_of(z)))
    (g,) = backward(op, {z: ones}, [x])
    assert g is not None
    output = op.Identity(g)
    output.name = "g"
    model.graph.outputs.append(output)
    return model, op


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 3, 2 * SIZE, 2 * SIZE)).astype(np.float32)


def test_scores_and_gradient_are_what_they_were(x: np.ndarray) -> None:
    model, op = differentiated()
    before = evaluate(serialise(model), {"x": x})
    keep_blocked(op, model)
    data = serialise(model)
    onnx.checker.check_model(data, full_check=True)
    for was, now in zip(before, evaluate(data, {"x": x}), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_a_number_stays_one(x: np.ndarray) -> None:
    model, op = differentiated()
    keep_blocked(op, model)
    _, g = evaluate(serialise(model), {"x": np.full_like(x, np.nan)})
    assert np.isnan(g).any()


def test_per_channel_values_and_global_means_stay_in_blocks() -> None:
    model, op = differentiated()
    keep_blocked(op, model)
    kinds = [node.op_type for node in model.graph]
    assert "GlobalAveragePool" in kinds
    assert "Resize" in kinds
    broadcast = [
        node
        for node in model.graph
        if node.op_type == "Mul"
        and {shape_of(v) for v in node.inputs if v is not None} >= {(2, 32, 1, 1), (2, 32, 6, 6)}
    ]
    assert not broadcast
