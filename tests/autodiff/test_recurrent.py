"""RNN, GRU and LSTM spelled out: the values of ONNX Runtime's own operators, and the slopes of central differences.

In float64, by the standard's reference implementation.
"""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from auditor.autodiff.gradient import backward
from auditor.graph.build import Builder
from auditor.graph.recurrent import spell_out_all
from auditor.runtime import evaluate
from tests.autodiff import oracle

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 3
STEP = 1e-6
LENGTHS = np.array([5, 2, 3], np.int32)
FORMS = {
    "plain": {},
    "without bias": {"bias": False},
    "backwards": {"direction": "reverse"},
    "both ways": {"direction": "bidirectional", "state": True},
    "with lengths": {"direction": "bidirectional", "lengths": True, "state": True},
    "clipped": {"clip": 0.4, "direction": "reverse"},
}
CASES = {
    **{f"{operator} {name}": (operator, form) for operator in GATES for name, form in FORMS.items()},
    "GRU reset behind": ("GRU", {"linear_before_reset": 1}),
    "GRU reset behind, without bias": ("GRU", {"linear_before_reset": 1, "bias": False, "clip": 0.5}),
    "LSTM with peepholes": ("LSTM", {"peepholes": True, "direction": "bidirectional", "state": True}),
    "LSTM with coupled gates": ("LSTM", {"input_forget": 1, "peepholes": True}),
    "RNN affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [0.7], "activation_beta": [0.3]}),
    "LSTM scaled": (
        "LSTM",
        {
            "activations": ["Sigmoid", "ScaledTanh", "Affine"],
            "activation_alpha": [0.6, 0.5],
            "activation_beta": [0.8, 0.1],
        },
    ),
    **{
        f"RNN {f}": ("RNN", {"activations": [f]})
        for f in ("Relu", "LeakyRelu", "Softplus", "Softsign", "HardSigmoid")
    },
    "RNN without parameters": ("RNN", {"activations": ["ThresholdedRelu"]}),
    "GRU with parameters of its own": (
        "GRU",
        {
            "direction": "bidirectional",
            "activations": ["HardSigmoid", "Tanh", "Sigmoid", "Elu"],
            "activation_alpha": [0.3, 0.6],
            "activation_beta": [0.4],
        },
    ),
}


def draw(operator, *, bias=True, state=False, lengths=False, peepholes=False, **attributes):
    """The node and what it is fed."""
    rng = np.random.default_rng(0)
    d, g = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[operator] * HIDDEN
    feeds = {
        "X": rng.normal(size=(STEPS, BATCH, FEATURES)),
        "W": 0.5 * rng.normal(size=(d, g, FEATURES)),
        "R": 0.7 * rng.normal(size=(d, g, HIDDEN)),
    }
    optional = {
        "B": rng.normal(size=(d, 2 * g)) if bias else None,
        "lengths": LENGTHS if lengths else None,
        "h": rng.normal(size=(d, BATCH, HIDDEN)) if state else None,
    }
    if operator == "LSTM":
        optional["c"] = rng.normal(size=(d, BATCH, HIDDEN)) if state else None
        optional["P"] = rng.normal(size=(d, 3 * HIDDEN)) if peepholes else None
    feeds |= {name: a for name, a in optional.items() if a is not None}
    names = [name if name in feeds else "" for name in ("X", "W", "R", *optional)]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if operator == "LSTM" else 2]
    return onnx.helper.make_node(operator, names, outputs, hidden_size=HIDDEN, **attributes), feeds


def model_of(node, feeds, dtype, *, inputs=("X",)):
    """inputs: the others are constants, but for the lengths."""
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    arrays = {n: a if a.dtype == np.int32 else a.astype(dtype) for n, a in feeds.items()}
    graph = onnx.helper.make_graph(
        [node],
        "recurrent",
        [onnx.helper.make_tensor_value_info(n, element, arrays[n].shape) for n in inputs],
        [onnx.helper.make_tensor_value_info(n, element, None) for n in node.output],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items() if n not in inputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 26)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True), arrays


def spelled_out(model):
    model = ir.from_proto(model)
    spell_out_all(model)
    assert not {node.op_type for node in model.graph} & GATES.keys()
    return model


def with_gradient(model):
    """The same with the cotangents of its inputs, under the seeds g0, g1, …, as its only outputs."""
    graph, op = model.graph, Builder(model.graph)
    seeds = {y: ir.Value(name=f"g{i}", type=y.type, shape=y.shape) for i, y in enumerate(graph.outputs)}
    wrt = list(graph.inputs)
    graph.outputs[:] = [op.Identity(g) for g in backward(op, seeds, wrt)]
    graph.inputs.extend(seeds.values())
    for g, x in zip(graph.outputs, wrt, strict=True):
        g.type, g.shape = x.type, x.shape
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def check_slopes(node, feeds):
    """Along random directions of each float input by itself, and with all but X constant."""
    rng = np.random.default_rng(1)
    floats = [n for n, a in feeds.items() if a.dtype != np.int32]
    for inputs in (floats, ["X"]):
        proto, arrays = model_of(node, feeds, np.float64, inputs=inputs)
        model = spelled_out(proto)
        primal = ir.to_proto(model)
        x = {n: arrays[n] for n in inputs}
        g = [rng.normal(size=y.shape) for y in oracle.evaluate(primal, x)]
        seeds = {f"g{i}": a for i, a in enumerate(g)}
        cotangents = oracle.evaluate(with_gradient(model), x | seeds)
        for name, cotangent in zip(inputs, cotangents, strict=True):
            v = rng.normal(size=x[name].shape)
            up, down = (oracle.evaluate(primal, x | {name: x[name] + sign * STEP * v}) for sign in (1, -1))
            slope = sum(float(np.sum(a * (p - q))) for a, p, q in zip(g, up, down, strict=True)) / (2 * STEP)
            assert float(np.sum(cotangent * v)) == pytest.approx(slope, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("name", CASES)
def test_the_cells_give_the_values_of_onnxruntimes_own(name):
    operator, form = CASES[name]
    model, arrays = model_of(*draw(operator, **form), np.float32)
    own = evaluate(model.SerializeToString(), {"X": arrays["X"]})
    cells = evaluate(ir.to_proto(spelled_out(model)).SerializeToString(), {"X": arrays["X"]})
    for a, b in zip(own, cells, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_agrees_with_differences(name):
    operator, form = CASES[name]
    check_slopes(*draw(operator, **form))


@pytest.mark.parametrize("operator", GATES)
def test_a_batch_that_comes_first_is_the_references(operator):
    """ONNX Runtime refuses this layout."""
    node, feeds = draw(operator, state=True, layout=1)
    feeds |= {n: feeds[n].swapaxes(0, 1) for n in ("X", "h", "c") if n in feeds}
    model, arrays = model_of(node, feeds, np.float32)
    reference = ReferenceEvaluator(model).run(None, {"X": arrays["X"]})
    cells = evaluate(ir.to_proto(spelled_out(model)).SerializeToString(), {"X": arrays["X"]})
    np.testing.assert_allclose(cells[0], reference[0], rtol=1e-5, atol=1e-6)
    assert cells[1].shape == (BATCH, 1, HIDDEN)
    np.testing.assert_allclose(cells[1][:, 0], cells[0][:, -1, 0], rtol=1e-6)
