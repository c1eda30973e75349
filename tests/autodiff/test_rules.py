"""Rules of arithmetic, activations, normalisations, reductions and indexing, against central differences."""

import numpy as np
import pytest

from tests.autodiff.oracle import Case, case, cases, check

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
