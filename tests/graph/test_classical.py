"""Operators of ai.onnx.ml against ONNX Runtime: in the files of `models/classical`, and one by one."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from auditor.autodiff.coverage import obstacles
from auditor.graph.build import shape_of
from auditor.graph.equal import squashed
from auditor.graph.freeze import freeze
from auditor.graph.opset import raise_opset
from auditor.graph.plain import make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.runtime import Session, evaluate

FOLDER = Path(__file__).parents[1] / "models" / "classical"
VOTES = {"ada_boost", "ada_boost_two", "bagging", "vote_hard", "vote_soft", "vote_forests"}
TREES = (
    {"tree", "forest", "forest_scaled", "forest_two", "extra_trees"}
    | VOTES
    | {
        f"{name}{two}"
        for name in ("xgboost", "lightgbm", "catboost", "gradient_boosting", "hist_boosting")
        for two in ("", "_two")
    }
)
SMOOTH = sorted(path for path in FOLDER.glob("*.onnx") if path.name.split(".")[0] not in TREES)
X = np.array([[0.5, -1.5, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [-2.0, 2.0, -0.5]], np.float32)


def table(path):
    datasets = pytest.importorskip("sklearn.datasets")
    name = {"cancer": "breast_cancer"}.get(path.name.split(".")[1], path.name.split(".")[1])
    return getattr(datasets, f"load_{name}")().data.astype(np.float32)[::4]


@pytest.mark.parametrize("path", SMOOTH, ids=lambda path: path.stem)
def test_a_pipeline_is_plain_and_differentiable_and_gives_the_uploads_scores(path):
    upload = read_upload(path.read_bytes())
    x = table(path)
    graph = make_plain(upload, batch=len(x))
    assert {node.domain for node in graph.model.graph} == {""}
    assert obstacles(graph) == []
    (raw,) = Session(upload.data).run({upload.input: x}, [upload.output])
    scores = upload.class_scores(raw)
    (logits,) = evaluate(serialise(graph.model), {"x": x})
    assert logits.argmax(axis=1).tolist() == scores.argmax(axis=1).tolist()
    ways = [["Softmax"], ["Sigmoid"], ["Sigmoid", "Normalizer"]] if upload.scores == "probabilities" else [[]]
    after = [squashed(logits.astype(np.float64), way) for way in ways]
    assert any(np.allclose(one, scores, rtol=1e-4, atol=1e-4) for one in after)


def test_only_transformed_scores_are_called_probabilities():
    kinds = {path.stem: read_upload(path.read_bytes()).scores for path in FOLDER.glob("*.onnx")}
    assert kinds["ridge.wine"] == kinds["svc_rbf.wine"] == "logits"
    assert kinds["logistic.iris"] == kinds["svc_rbf_probability.iris"] == kinds["forest.wine"] == "probabilities"
    assert kinds["lightgbm_two.cancer"] == kinds["catboost_two.cancer"] == "probabilities"


def one(operator, outputs=1, extra=(), kind=TensorProto.FLOAT, **attributes):
    """A model of one operator; the last of its outputs is the model's."""
    names = [f"y{i}" for i in range(outputs)]
    constants = [onnx.numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(extra)]
    node = helper.make_node(operator, ["x", *(c.name for c in constants)], names, domain="ai.onnx.ml", **attributes)
    output = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", kind, [4, 3])], [output], constants)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


LINEAR = {"coefficients": [0.5, -1.0, 0.25], "intercepts": [0.3], "classlabels_ints": [0, 1]}
MACHINE = {
    "support_vectors": [0.5, -1.0, 2.0, 1.0, 1.0, -1.0, 0.0, 2.0, 0.5, -1.5, 0.2, 0.1],
    "kernel_params": [0.5, 1.0, 3.0],
}
THREE = {
    "vectors_per_class": [1, 2, 1],
    "coefficients": [0.5, -1.0, 0.25, 2.0, 0.1, -0.3, 1.5, -0.7],
    "rho": [0.1, -0.2, 0.3],
    "classlabels_ints": [0, 1, 2],
}
TWO = {
    "vectors_per_class": [2, 2],
    "coefficients": [0.5, 1.0, -0.25, -1.25],
    "rho": [0.1],
    "classlabels_ints": [0, 1],
}
CASES = {
    "scaler": one("Scaler", offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, -1.0]),
    "scaler of whole numbers": one("Scaler", kind=TensorProto.INT64, offset=[1.0], scale=[0.5]),
    "normalizer by L1": one("Normalizer", norm="L1"),
    "normalizer by L2": one("Normalizer", norm="L2"),
    "normalizer by the maximum": one("Normalizer", norm="MAX"),
    "imputer of a number": one("Imputer", imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=2.0),
    "imputer of nothing": one("Imputer", imputed_value_floats=[7.0], replaced_value_float=float("nan")),
    "binarizer": one("Binarizer", threshold=0.5),
    "feature extractor": one("ArrayFeatureExtractor", extra=[np.array([2, 0, 0])]),
    "vectorizer": one("FeatureVectorizer", inputdimensions=[3]),
    "one hot": one("OneHotEncoder", cats_int64s=[0, 3, 2]),
    "label encoder": one("LabelEncoder", keys_floats=[2.0, 0.5], values_floats=[7.0, 8.0], default_float=-3.0),
    "regressor": one(
        "LinearRegressor", coefficients=LINEAR["coefficients"], intercepts=[0.3], post_transform="LOGISTIC"
    ),
    "regressor of two": one(
        "LinearRegressor",
        coefficients=2 * LINEAR["coefficients"],
        intercepts=[0.3, 1.0],
        targets=2,
        post_transform="SOFTMAX",
    ),
    **{
        f"linear, one row, {after}": one("LinearClassifier", 2, **LINEAR, post_transform=after)
        for after in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
    },
    **{
        f"machine, {kernel}": one("SVMClassifier", 2, **MACHINE, **THREE, kernel_type=kernel)
        for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID")
    },
    "machine of two": one("SVMClassifier", 2, **MACHINE, **TWO, kernel_type="RBF"),
    "machine of two, probability": one(
        "SVMClassifier", 2, **MACHINE, **TWO, kernel_type="RBF", prob_a=[-1.5], prob_b=[0.2]
    ),
    "machine of three, probability": one(
        "SVMClassifier", 2, **MACHINE, **THREE, kernel_type="RBF", prob_a=[-1.5, -0.5, -2.0], prob_b=[0.2, 0.0, -0.3]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_taken_apart_gives_what_it_gave(name):
    model = CASES[name]
    whole = model.graph.input[0].type.tensor_type.elem_type == TensorProto.INT64
    x = X.astype(np.int64) if whole else X
    (expected,) = evaluate(model.SerializeToString(), {"x": x})
    plain = freeze(raise_opset(model), "x", X.shape)
    assert {node.domain for node in plain.graph} <= {""}
    (value,) = plain.graph.outputs
    if value.producer() is None:  # nothing is left
        assert np.array_equal(expected, x)
        return
    (found,) = evaluate(serialise(plain), {"x": x})
    assert shape_of(value) == expected.shape
    assert np.allclose(found, expected, atol=2e-6)


def test_what_has_no_short_meaning_stays():
    probit = one("LinearClassifier", 2, **LINEAR, post_transform="PROBIT")
    assert {node.op_type for node in freeze(raise_opset(probit), "x", X.shape).graph} == {"LinearClassifier"}
