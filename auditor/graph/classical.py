"""Operators of ai.onnx.ml, taken apart into standard ones: linear models, support vector machines and what pipelines
put before them, as the converters of scikit-learn, XGBoost, LightGBM and CatBoost write them.

What is written here is what ONNX Runtime computes, which goes beyond the standard's text where a model has two classes
and one column of scores. Tree ensembles stay (`auditor.graph.trees` reads them); what comes behind them is taken out of
them, so that their raw sums can be seen.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, constant_of, shape_of
from auditor.graph.head import trace
from auditor.graph.rewriting import Rewrite, rewrites
from auditor.graph.trees import transform_of

ML = "ai.onnx.ml"
_LEAST = 1e-7  # what ONNX Runtime keeps a pair's probability away from 0 and 1
_ROUNDS = 8  # of the iteration that couples pairs of probabilities; 5 is the most that random ones of 20 classes took


def _ml(operator: str, output: int = 0) -> Callable[[Rewrite], Rewrite]:
    return rewrites(operator, domain=ML, output=output)


def _floats(op: Builder, x: ir.Value) -> ir.Value:
    return x if x.dtype == ir.DataType.FLOAT else op.Cast(x, to=ir.DataType.FLOAT)


def _constant(op: Builder, values: Any) -> ir.Value:
    return op.const(np.asarray(values, np.float32))


@_ml("Scaler")
def _scaler(
    op: Builder, x: ir.Value, *, offset: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)
) -> ir.Value | None:
    return op.Mul(op.Sub(_floats(op, x), _constant(op, offset)), _constant(op, scale))


@_ml("Normalizer")
def _normalizer(op: Builder, x: ir.Value, *, norm: str = "MAX") -> ir.Value | None:
    """A row of zeros stays one. Behind probabilities at the end of a model it is left, for the head to be read."""
    if trace(x).node is not None:
        return None
    x, last = _floats(op, x), op.ints([1])
    if norm == "L2":
        size = op.Sqrt(op.ReduceSum(op.Mul(x, x), last, keepdims=1))
    else:
        size = op.ReduceMax(x, last, keepdims=1) if norm == "MAX" else op.ReduceSum(op.Abs(x), last, keepdims=1)
    nothing = op.Equal(size, op.const(np.float32(0)))
    return op.Div(x, op.Where(nothing, op.const(np.float32(1)), size))


@_ml("Imputer")
def _imputer(
    op: Builder,
    x: ir.Value,
    *,
    imputed_value_floats: Sequence[float] = (),
    replaced_value_float: float = 0.0,
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_int64: int = 0,
) -> ir.Value | None:
    """Examples are finite, so that nothing is missing where what is missing is written as NaN."""
    whole = bool(imputed_value_int64s)
    if not whole and np.isnan(replaced_value_float):
        return x
    missing = replaced_value_int64 if whole else replaced_value_float
    instead = np.asarray(imputed_value_int64s if whole else imputed_value_floats)
    return op.Where(op.Equal(x, op.const(missing, like=x)), op.const(instead, like=x), x)


@_ml("Binarizer")
def _binarizer(op: Builder, x: ir.Value, *, threshold: float = 0.0) -> ir.Value | None:
    return op.Cast(op.Greater(x, op.const(threshold, like=x)), to=x.dtype)


@_ml("ArrayFeatureExtractor")
def _array_feature_extractor(op: Builder, x: ir.Value, indices: ir.Value) -> ir.Value | None:
    chosen = constant_of(indices)
    if chosen is None or len(shape_of(x)) < 2:
        return None
    return op.Gather(x, op.ints(chosen.ravel().tolist()), axis=-1)


@_ml("FeatureVectorizer")
def _feature_vectorizer(op: Builder, *parts: ir.Value, inputdimensions: Sequence[int] = ()) -> ir.Value | None:
    if any(len(shape_of(part)) != 2 for part in parts):
        return None
    return op.Concat(*(_floats(op, part) for part in parts), axis=1)


@_ml("OneHotEncoder")
def _one_hot_encoder(
    op: Builder, x: ir.Value, *, cats_int64s: Sequence[int] = (), cats_strings: Sequence[str] = (), zeros: int = 1
) -> ir.Value | None:
    """A value that is no category is all zeros, or, where `zeros` is 0, an error, which examples are taken not to be."""
    if not cats_int64s:
        return None
    whole = op.Cast(x, to=ir.DataType.INT64)
    return op.Cast(op.Equal(op.Unsqueeze(whole, op.ints([-1])), op.ints(cats_int64s)), to=ir.DataType.FLOAT)


@_ml("LabelEncoder")
def _label_encoder(op: Builder, x: ir.Value, **attributes: Any) -> ir.Value | None:
    """Numbers for numbers; words stay."""
    keys, values, default = (
        next((attributes[name] for name in (f"{part}_floats", f"{part}_int64s") if name in attributes), None)
        for part in ("keys", "values", "default")
    )
    default = attributes.get(
        "default_float", attributes.get("default_int64", 0 if "values_int64s" in attributes else -0.0)
    )
    if keys is None or values is None or np.isnan(np.asarray(keys, np.float64)).any():
        return None
    met = op.Cast(op.Equal(op.Unsqueeze(x, op.ints([-1])), op.const(np.asarray(keys), like=x)), to=ir.DataType.FLOAT)
    shift = _constant(op, np.asarray(values, np.float64) - default)
    result = op.Add(op.MatMul(met, shift), _constant(op, default))
    return result if "values_floats" in attributes else op.Cast(result, to=ir.DataType.INT64)


@_ml("LinearRegressor")
def _linear_regressor(
    op: Builder,
    x: ir.Value,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    post_transform: str = "NONE",
    targets: int = 1,
) -> ir.Value | None:
    """A single target is not transformed."""
    after = _AFTER.get(post_transform if targets > 1 else "NONE")
    return None if after is None else after(op, _affine(op, x, coefficients, intercepts))


@_ml("LinearClassifier", output=1)
def _linear_classifier(
    op: Builder,
    x: ir.Value,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    post_transform: str = "NONE",
    classlabels_ints: Sequence[int] = (),
    classlabels_strings: Sequence[str] = (),
    multi_class: int = 0,
) -> ir.Value | None:
    """One row of coefficients for two classes: the other class is given 1 - score, or the opposite probability."""
    classes, rows = len(classlabels_ints or classlabels_strings), len(coefficients) // shape_of(x)[1]
    if post_transform not in _AFTER or (rows != classes and (rows, classes) != (1, 2)):
        return None
    z = _affine(op, x, coefficients, intercepts)
    if rows == classes:
        return _AFTER[post_transform](op, z)
    if post_transform == "LOGISTIC":
        return two_probabilities(op, z)
    return op.Concat(op.Sub(op.const(np.float32(1)), z), z, axis=1)


def _affine(op: Builder, x: ir.Value, coefficients: Sequence[float], intercepts: Sequence[float]) -> ir.Value:
    weight = np.asarray(coefficients, np.float32).reshape(-1, shape_of(x)[1])
    return op.Gemm(_floats(op, x), op.const(weight), _constant(op, intercepts or [0.0]), transB=1)


def two_probabilities(op: Builder, z: ir.Value) -> ir.Value:
    """(n, 1) -> (n, 2): (1 - p, p) of p = sigmoid(z), as a softmax, so that logits can be found before it."""
    return op.Softmax(op.Concat(op.Mul(z, op.const(np.float32(0))), z, axis=1), axis=1)


# SOFTMAX_ZERO leaves scores of exactly 0 alone; to a linear model that is a softmax.
_AFTER: dict[str, Callable[[Builder, ir.Value], ir.Value]] = {
    "NONE": lambda op, z: z,
    "SOFTMAX": lambda op, z: op.Softmax(z, axis=1),
    "SOFTMAX_ZERO": lambda op, z: op.Softmax(z, axis=1),
    "LOGISTIC": lambda op, z: op.Sigmoid(z),
}


@_ml("SVMClassifier", output=1)
def _svm_classifier(
    op: Builder,
    x: ir.Value,
    *,
    coefficients: Sequence[float],
    rho: Sequence[float],
    support_vectors: Sequence[float] = (),
    vectors_per_class: Sequence[int] = (),
    kernel_type: str = "LINEAR",
    kernel_params: Sequence[float] = (0.0, 0.0, 0.0),
    prob_a: Sequence[float] = (),
    prob_b: Sequence[float] = (),
    classlabels_ints: Sequence[int] = (),
    classlabels_strings: Sequence[str] = (),
    post_transform: str = "NONE",
) -> ir.Value | None:
    """One decision per pair of classes (Platt 1999 for its probability), or with `prob_a` one probability per class."""
    classes = len(classlabels_ints or classlabels_strings)
    if not vectors_per_class or post_transform != "NONE" or classes != len(vectors_per_class):
        return None
    machines = np.asarray(support_vectors, np.float32).reshape(sum(vectors_per_class), shape_of(x)[1])
    kernels = _kernels(op, _floats(op, x), machines, kernel_type, kernel_params)
    decisions = op.Gemm(kernels, op.const(_of_pairs(coefficients, vectors_per_class)), _constant(op, rho), transB=1)
    if not prob_a:
        return op.Concat(op.Neg(decisions), decisions, axis=1) if classes == 2 else decisions
    slope = op.Sub(op.Mul(decisions, _constant(op, np.negative(prob_a))), _constant(op, prob_b))
    bounds = (op.const(np.float32(end)) for end in (_LEAST, 1 - _LEAST))
    p = _coupled(op, op.Clip(op.Sigmoid(slope), *bounds), classes)
    return op.Softmax(op.Log(p), axis=1)  # p again, with logits before it


def _kernels(op: Builder, x: ir.Value, machines: np.ndarray, kind: str, params: Sequence[float]) -> ir.Value:
    """(n, d), (vectors, d) -> (n, vectors)"""
    gamma, coef0, degree = (op.const(np.float32(value)) for value in params)
    if kind == "RBF":  # squares around the middle, so that little is lost when they are subtracted
        middle = machines.mean(axis=0)
        x, machines = op.Sub(x, op.const(middle)), machines - middle
        own = op.ReduceSum(op.Mul(x, x), op.ints([1]), keepdims=1)
        double = op.MatMul(x, op.const(2 * machines.T))
        apart = op.Add(op.Sub(own, double), op.const((machines * machines).sum(axis=1)))
        return op.Exp(op.Neg(op.Mul(op.Relu(apart), gamma)))
    product = op.MatMul(x, op.const(np.ascontiguousarray(machines.T)))
    if kind == "LINEAR":
        return product
    inner = op.Add(op.Mul(product, gamma), coef0)
    return op.Tanh(inner) if kind == "SIGMOID" else op.Pow(inner, degree)


def _of_pairs(coefficients: Sequence[float], vectors_per_class: Sequence[int]) -> np.ndarray:
    """(pairs, vectors): what each vector adds to the decision between classes i < j."""
    classes, vectors = len(vectors_per_class), sum(vectors_per_class)
    dual = np.asarray(coefficients, np.float32).reshape(classes - 1, vectors)
    ends = np.cumsum(vectors_per_class)
    own = [slice(end - count, end) for end, count in zip(ends, vectors_per_class, strict=True)]
    weight = np.zeros((classes * (classes - 1) // 2, vectors), np.float32)
    for pair, (i, j) in enumerate(combinations(range(classes), 2)):
        weight[pair, own[i]] = dual[j - 1, own[i]]
        weight[pair, own[j]] = dual[i, own[j]]
    return weight


def _coupled(op: Builder, pairs: ir.Value, classes: int) -> ir.Value:
    """Probabilities of pairs (n, pairs) -> of classes (n, classes).

    Wu, Lin & Weng 2004, "Probability estimates for multi-class classification by pairwise coupling", algorithm 2; a row
    that has converged stays as it is, since ONNX Runtime ends there.
    """
    batch, k = shape_of(pairs)[0], classes
    one = op.const(np.float32(1))
    place = {pair: number for number, pair in enumerate(combinations(range(k), 2))}
    both = op.Concat(
        pairs, op.Sub(one, pairs), op.Mul(op.Gather(pairs, op.ints([0]), axis=1), op.const(np.float32(0))), axis=1
    )
    count, nothing = len(place), 2 * len(place)
    table = [
        [nothing if i == j else place[i, j] if i < j else count + place[j, i] for j in range(k)] for i in range(k)
    ]
    r = op.Gather(both, op.const(np.array(table)), axis=1)  # r[i, j]: of class i against class j
    turned = op.Transpose(r, perm=[0, 2, 1])
    off = op.Neg(op.Mul(turned, r))
    own = op.ReduceSum(op.Mul(turned, turned), op.ints([2]), keepdims=1)
    q = op.Add(off, op.Mul(own, op.const(np.eye(k, dtype=np.float32)[None])))
    p: ir.Value = op.const(np.full((batch, k, 1), 1 / k, np.float32))
    limit = op.const(np.float32(0.005 / k))
    for _ in range(_ROUNDS):
        p = _round(op, q, own, p, limit, k)
    return op.Reshape(p, op.ints([batch, k]))


def _round(op: Builder, q: ir.Value, own: ir.Value, p: ir.Value, limit: ir.Value, k: int) -> ir.Value:
    """One sweep over the classes. q: (n, k, k), own: its diagonal (n, k, 1), p: (n, k, 1)."""
    one, two = op.const(np.float32(1)), op.const(np.float32(2))
    qp = op.MatMul(q, p)
    pqp = op.ReduceSum(op.Mul(p, qp), op.ints([1]), keepdims=1)
    error = op.ReduceMax(op.Abs(op.Sub(qp, pqp)), op.ints([1]), keepdims=1)
    after = p
    for t in range(k):
        at = op.ints([t])
        mine, here = op.Gather(own, at, axis=1), op.Gather(qp, at, axis=1)
        step = op.Div(op.Sub(pqp, here), mine)
        whole = op.Add(one, step)
        pqp = op.Div(op.Div(op.Add(pqp, op.Mul(step, op.Add(op.Mul(step, mine), op.Mul(two, here)))), whole), whole)
        unit = op.const(np.eye(k, dtype=np.float32)[None, :, t : t + 1])
        after = op.Div(op.Add(after, op.Mul(step, unit)), whole)
        qp = op.Div(op.Add(qp, op.Mul(step, op.Gather(q, at, axis=2))), whole)
    return op.Where(op.Less(error, limit), p, after)


@_ml("TreeEnsembleClassifier", output=1)
def _tree_classifier(op: Builder, x: ir.Value, **attributes: Any) -> ir.Value | None:
    """The same trees without what is made of their sums, and that behind them. Where two classes have one sum, it is the
    second column."""
    after = transform_of("TreeEnsembleClassifier", attributes)
    labels = attributes.get("classlabels_int64s") or attributes.get("classlabels_strings") or ()
    one_sum = len(labels) == 2 and set(attributes["class_ids"]) == {0}
    if after not in _AFTER or after == "SOFTMAX_ZERO" or (after == "NONE" and not one_sum):
        return None
    plain = {**attributes, "post_transform": "NONE"}
    _, sums = op.TreeEnsembleClassifier(x, **plain, _domain=ML, _outputs=2)
    sums.dtype, sums.shape = ir.DataType.FLOAT, ir.Shape([shape_of(x)[0], len(labels)])
    if not one_sum:
        return _AFTER[after](op, sums)
    if after == "SOFTMAX":
        return sums  # ONNX Runtime makes nothing of one sum but a sigmoid
    second = op.Gather(sums, op.ints([1]), axis=1)
    if after == "LOGISTIC":
        return two_probabilities(op, second)
    positive = min(_weights(attributes)) >= 0
    return op.Concat(op.Sub(op.const(np.float32(1)), second) if positive else op.Neg(second), second, axis=1)


def _weights(attributes: Mapping[str, Any]) -> Sequence[float]:
    tensor = attributes.get("class_weights_as_tensor")
    return attributes["class_weights"] if tensor is None else tensor.numpy().tolist()


@_ml("TreeEnsembleRegressor")
def _tree_regressor(op: Builder, x: ir.Value, **attributes: Any) -> ir.Value | None:
    return _sums(op, x, "TreeEnsembleRegressor", attributes, "NONE")


@_ml("TreeEnsemble")
def _tree_ensemble(op: Builder, x: ir.Value, **attributes: Any) -> ir.Value | None:
    return _sums(op, x, "TreeEnsemble", attributes, 0)


def _sums(op: Builder, x: ir.Value, operator: str, attributes: Mapping[str, Any], none: Any) -> ir.Value | None:
    """As for a classifier; a single target is not transformed."""
    after, targets = transform_of(operator, attributes), attributes.get("n_targets", 1)
    if after in ("NONE", "SOFTMAX_ZERO") or after not in _AFTER:
        return None
    sums = getattr(op, operator)(x, **{**attributes, "post_transform": none}, _domain=ML)
    sums.dtype, sums.shape = ir.DataType.FLOAT, ir.Shape([shape_of(x)[0], targets])
    return sums if targets == 1 else _AFTER[after](op, sums)
