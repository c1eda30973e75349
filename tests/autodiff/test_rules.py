"""Rules of arithmetic, activations, normalisations, reductions and indexing, against central differences."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from auditor.errors import NoGradient
from tests.autodiff.oracle import Case, case, cases, check, evaluate, gradient_model

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, shape)


ARITHMETIC = [
    # An integer base has no gradient; ONNX Runtime knows no unsigned exponents.
    *cases("Pow", without=["types_int", "uint"]),
    *cases("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Neg", "Abs", "Reciprocal", "Sqrt", "Exp", "Log"),
    *cases("Min", "Max", "Clip", "Where", "Identity", "Erf"),
    *cases("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh"),
    case("Mul", normal(2, 3), 2.0),
    case("Mul", 2.0, normal(2, 3)),
    case("Div", normal(2, 1, 4), positive(3, 1)),
    case("Div", np.array(1.5), positive(3, 1)),
    case("Add", normal(3), normal(2, 3)),
    case("Sum", normal(3), normal(2, 1), normal(1, 1, 1)),
    case("Mean", normal(3), normal(2, 1), normal(1, 1, 1)),
    case("Max", normal(2, 3), normal(3), 0.1),
    case("Min", normal(2, 3)),
    case("Mod", 5 * normal(4, 3), positive(3), fmod=1),
    *[case("Pow", positive(2, 3), np.array(p), wrt=[0]) for p in (0.0, 0.5, 1.0, 2.0, 3.0, -1.5)],
    case("Pow", normal(2, 3), np.array(2, np.int64), wrt=[0]),
    case("Pow", normal(2, 3), np.array([0, 1, 3], np.int64), wrt=[0]),
    case("Dropout", normal(2, 3)),
    case("Dropout", normal(2, 3), np.array(0.3), np.array(False), wrt=[0]),
]


@pytest.mark.parametrize("case", ARITHMETIC, ids=repr)
def test_arithmetic_agrees_with_differences(case: Case) -> None:
    check(case)


ACTIVATIONS = [
    *cases("Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign"),
    *cases("Sigmoid", "HardSigmoid", "HardSwish", "Mish", "Gelu", "Shrink", "Softmax", "LogSoftmax"),
    case("LeakyRelu", normal(3, 4), alpha=-0.5),
    case("LeakyRelu", normal(3, 4), alpha=0.0),
    case("PRelu", normal(2, 3, 4), normal(3, 1)),
    case("ThresholdedRelu", normal(3, 4), alpha=-0.5),
    case("Elu", normal(3, 4)),
    case("Elu", normal(3, 4), alpha=-0.5),
    case("Celu", normal(3, 4), alpha=-0.5),
    case("Selu", normal(3, 4), alpha=-0.5, gamma=1.5),
    case("HardSwish", 4 * normal(4, 4)),
    case("Gelu", normal(3, 4), approximate="tanh"),
    case("Mish", 8 * normal(3, 4)),
    case("Shrink", normal(3, 4), bias=0.2, lambd=0.3),
    case("Softmax", normal(2, 3, 4), axis=0),
    case("LogSoftmax", normal(2, 3, 4), axis=1),
]


@pytest.mark.parametrize("case", ACTIVATIONS, ids=repr)
def test_activations_agree_with_differences(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", [*cases("Swish"), case("Swish", normal(3, 4), alpha=-1.7)], ids=repr)
def test_swish_agrees_with_differences_though_onnx_runtime_lacks_it(case: Case) -> None:
    check(case, ort=False)


NORMALIZATIONS = [
    *cases("BatchNormalization", without=["training"]),
    *cases("LayerNormalization", outputs=1),
    *cases("RMSNormalization", "GroupNormalization", "InstanceNormalization"),
    *cases("LpNormalization", "LRN"),
    case("BatchNormalization", normal(4, 3), positive(3), normal(3), normal(3), positive(3), wrt=[0, 1, 2]),
    case("LayerNormalization", normal(2, 3, 4), normal(3, 4), normal(3, 4), axis=1, epsilon=0.1),
    case("LayerNormalization", normal(2, 3, 4), normal(4)),
    case("RMSNormalization", normal(2, 3, 4), normal(1, 4), axis=1),
    case("GroupNormalization", normal(2, 6, 2, 2), normal(6), normal(6), num_groups=3),
    case("InstanceNormalization", normal(2, 3, 5), normal(3), normal(3), epsilon=0.1),
    case("LpNormalization", normal(2, 3, 4), axis=1, p=1),
    # Without axes, the standard's own checker trips over the function body; hence no node test.
    case("MeanVarianceNormalization", normal(2, 3, 2, 2), axes=[0, 2, 3]),
    case("MeanVarianceNormalization", normal(2, 3, 4), axes=[2]),
    case("LRN", normal(2, 7, 2, 2), size=5, alpha=0.5, beta=0.6, bias=1.5),
]


@pytest.mark.parametrize("case", NORMALIZATIONS, ids=repr)
def test_normalizations_agree_with_differences(case: Case) -> None:
    check(case)


def axes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


REDUCERS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
REDUCERS += ("ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
REDUCTIONS = [
    # Over nothing, an extremum or a logarithm is infinite.
    *cases(*REDUCERS, "CumSum", without=["empty_set"]),
    *[case(r, positive(2, 3, 4), axes(-1, 0), keepdims=0) for r in REDUCERS],
    *[case(r, positive(2, 3, 4), keepdims=0) for r in REDUCERS],
    *[case(r, positive(2, 3), axes(0)) for r in REDUCERS],
    case("ReduceProd", np.array([[0.0, 2, 3], [0, 0, 4]]), axes(1)),
]


@pytest.mark.parametrize("case", REDUCTIONS, ids=repr)
def test_reductions_agree_with_differences(case: Case) -> None:
    check(case)


INDEXING = [
    *cases("Gather", "GatherElements", "GatherND", "TopK", "ReverseSequence"),
    *cases("ScatterElements", "ScatterND", without=["max", "min", "mul"]),
    case("Gather", normal(4, 5), axes(1, -1, 1, 3), axis=1),
    case("Gather", normal(4, 5), np.array(-2), axis=1),
    case("Gather", normal(3, 5), axes(2, 0, 1)),
    case("Gather", normal(20, 2), np.full(30, 7)),
    case("GatherND", normal(2, 3, 4), np.array([[[1]], [[-1]]]), batch_dims=1),
    case("Trilu", normal(2, 4, 5)),
    case("Trilu", normal(4, 5), np.array(1), upper=0),
    case("TopK", normal(3, 5), axes(2), axis=0, largest=0, outputs=2),
]


@pytest.mark.parametrize("case", INDEXING, ids=repr)
def test_indexing_agrees_with_differences(case: Case) -> None:
    check(case)


def gradient(case: Case) -> list[np.ndarray]:
    """The cotangents of `case.wrt`, or of x0, when every output's cotangent is 1."""
    wrt = case.wrt or ("x0",)
    model = gradient_model(replace(case, wrt=wrt), np.float64)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    return evaluate(model, {n: case.inputs[n] if n in wrt else np.ones(s) for n, s in shapes.items()})


def test_a_tensor_used_twice_gets_both_cotangents() -> None:
    x = normal(3)
    square = onnx.helper.make_node("Mul", ["x0", "x0"], ["y0"])
    (g,) = gradient(Case("x*x", (square,), {"x0": x}, ("y0",)))
    np.testing.assert_allclose(g, 2 * x)


@pytest.mark.parametrize("low", [0.0, None])
def test_a_pixel_on_the_bounds_of_a_clip_keeps_its_gradient(low: float | None) -> None:
    (g,) = gradient(case("Clip", np.array([-0.5, 0, 0.5, 1, 1.5]), low, np.array(1.0)))
    np.testing.assert_array_equal(g, [low is None, 1, 1, 1, 0])


def test_a_clip_behind_a_convolution_reads_its_mask_off_the_output() -> None:
    nodes = (
        onnx.helper.make_node("BatchNormalization", ["x0", "scale", "zero", "zero", "var"], ["h"], epsilon=0.0),
        onnx.helper.make_node("Clip", ["h", "zero_", "six"], ["y0"]),
    )
    inputs = {"x0": np.array([[-1.0], [1], [7]]), "scale": np.ones(1), "zero": np.zeros(1), "var": np.ones(1)}
    inputs |= {"zero_": np.array(0.0), "six": np.array(6.0)}
    relu6 = Case("relu6", nodes, inputs, ("y0",), ("x0",))
    np.testing.assert_array_equal(gradient(relu6)[0], [[0], [1], [0]])
    assert "h" not in {name for node in gradient_model(relu6, np.float64).graph.node[2:] for name in node.input}


def test_ties_of_an_extremum_share_the_cotangent() -> None:
    a, b = gradient(case("Max", np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), wrt=[0, 1]))
    np.testing.assert_array_equal(a, [0.5, 0, 1])
    np.testing.assert_array_equal(b, [0.5, 1, 0])
    (g,) = gradient(case("ReduceMin", np.array([[1.0, 1, 2], [0, 3, 5]]), axes(1)))
    np.testing.assert_array_equal(g, [[0.5, 0.5, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "case",
    [
        case("Sqrt", np.zeros(3)),
        case("ReduceL2", np.zeros((2, 3)), axes(1)),
        case("LpNormalization", np.zeros((2, 3))),
        case("Pow", np.zeros(3), np.array(0.5)),
        case("Pow", np.zeros(3), np.array(0.0)),
        case("Pow", np.array([-1.0, 0, 2]), np.array([2.0, 0.5, 0.0]), wrt=[0, 1]),
        case("ReduceProd", np.zeros((2, 3)), axes(1)),
        case("Softmax", np.array([[1e4, -1e4, 0]])),
    ],
    ids=repr,
)
def test_a_slope_that_does_not_exist_is_given_as_finite(case: Case) -> None:
    assert all(np.isfinite(g).all() for g in gradient(case))


def test_nan_in_the_branch_not_taken_stays_out_of_the_gradient() -> None:
    nodes = (
        onnx.helper.make_node("Greater", ["x0", "zero"], ["positive"]),
        onnx.helper.make_node("Log", ["x0"], ["log"]),
        onnx.helper.make_node("Where", ["positive", "log", "nan"], ["y0"]),
    )
    inputs = {"x0": np.array([2.0, -1]), "zero": np.array(0.0), "nan": np.array(np.nan)}
    (g,) = gradient(Case("log", nodes, inputs, ("y0",), ("x0",)))
    np.testing.assert_array_equal(g, [0.5, 0])


@pytest.mark.parametrize("to", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE])
def test_a_cast_gives_the_cotangent_back_in_the_type_of_its_input(to: int) -> None:
    cast, back = (onnx.helper.make_node("Cast", [a], [b], to=t) for a, b, t in [("x0", "h", to), ("h", "y0", 11)])
    (g,) = gradient(Case("cast", (cast, back), {"x0": normal(3)}, ("y0",)))
    assert g.dtype == np.float64
    np.testing.assert_array_equal(g, np.ones(3))


def test_a_cast_like_gives_the_cotangent_back_in_the_type_of_its_input() -> None:
    there = onnx.helper.make_node("CastLike", ["x0", "single"], ["h"])
    back = onnx.helper.make_node("Cast", ["h"], ["y0"], to=onnx.TensorProto.DOUBLE)
    inputs = {"x0": normal(3), "single": np.zeros(1, np.int32)}
    with pytest.raises(AssertionError, match="no cotangent"):
        gradient(Case("to integers", (there, back), inputs, ("y0",), ("x0",)))
    there = onnx.helper.make_node("CastLike", ["x0", "half"], ["h"])
    inputs = {"x0": normal(3), "half": np.zeros(1, np.float16)}
    (g,) = gradient(Case("to halves", (there, back), inputs, ("y0",), ("x0",)))
    np.testing.assert_array_equal(g, np.ones(3))


def test_masks_of_a_half_precision_model_are_right() -> None:
    nodes = [onnx.helper.make_node("Cast", ["x0"], ["h"], to=onnx.TensorProto.FLOAT16)]
    nodes += [onnx.helper.make_node(o, [a], [b]) for o, a, b in [("Relu", "h", "r"), ("Abs", "h", "a")]]
    nodes.append(onnx.helper.make_node("Add", ["r", "a"], ["s"]))
    nodes.append(onnx.helper.make_node("Cast", ["s"], ["y0"], to=onnx.TensorProto.DOUBLE))
    (g,) = gradient(Case("half", tuple(nodes), {"x0": np.array([-2.0, 0, 3])}, ("y0",)))
    np.testing.assert_array_equal(g, [-1, 0, 2])


@pytest.mark.parametrize("bound", [1e-12, 6.0, 1e30])
def test_a_clip_of_any_size_masks_exactly(bound: float) -> None:
    nodes = (
        onnx.helper.make_node("BatchNormalization", ["x0", "one", "zero", "zero", "one"], ["h"], epsilon=0.0),
        onnx.helper.make_node("Clip", ["h", "", "high"], ["y0"]),
    )
    x = np.array([[0.5], [1 - 1e-6], [1], [2]]) * bound
    inputs = {"x0": x, "one": np.ones(1), "zero": np.zeros(1), "high": np.array(bound)}
    np.testing.assert_array_equal(gradient(Case("clip", nodes, inputs, ("y0",), ("x0",)))[0], [[1], [1], [0], [0]])


def test_a_dropout_left_switched_on_passes_the_cotangent_through_its_own_draw() -> None:
    drop = case("Dropout", np.ones((40, 50)), np.array(0.25), np.array(True), seed=7)
    model = gradient_model(replace(drop, wrt=("x0",)), np.float32)
    model.graph.output.append(onnx.ValueInfoProto(name="y0"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    g, y = session.run(None, {"x0": np.ones((40, 50), np.float32), "g_y0": np.ones((40, 50), np.float32)})
    assert 0.6 < (y > 0).mean() < 0.9
    np.testing.assert_allclose(g, y, rtol=1e-6)


def test_layer_normalization_asks_its_own_node_for_the_statistics() -> None:
    norm = replace(case("LayerNormalization", normal(2, 8), positive(8)), wrt=("x0",))
    operators = [node.op_type for node in gradient_model(norm, np.float32).graph.node]
    assert "Sqrt" not in operators


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (
            case("BatchNormalization", normal(4, 2), *[positive(2)] * 4, training_mode=1, outputs=3),
            "training_mode=1",
        ),
    ],
    ids=repr,
)
def test_what_has_no_gradient_is_refused_with_the_reason(case: Case, why: str) -> None:
    with pytest.raises(NoGradient, match=why):
        gradient(replace(case, outputs=("y0",)))


def test_constant_gathers_come_back_without_a_scatter() -> None:
    twice = replace(case("Gather", normal(4, 5), axes(1, 1, 3)), wrt=("x0",))
    operators = {node.op_type for node in gradient_model(twice, np.float32).graph.node}
    assert not any(operator.startswith("Scatter") for operator in operators)
