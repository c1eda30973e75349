"""Tree ensembles found in files, against what ONNX Runtime gives."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from auditor.graph.located import find_trees
from auditor.graph.plain import make_plain
from auditor.graph.upload import read_upload
from auditor.runtime import Session
from auditor.spec import Normalisation
from tests.graph.test_classical import FOLDER, TREES, table

FILES = sorted(path for path in FOLDER.glob("*.onnx") if path.name.split(".")[0] in TREES - {"vote_forests"})
COUNTS = {
    "tree": 1,
    "forest": 10,
    "forest_scaled": 6,
    "xgboost": 18,
    "lightgbm": 18,
    "catboost": 6,
    "hist_boosting_two": 10,
    "ada_boost": 5,
    "ada_boost_two": 8,
    "bagging": 5,
    "vote_hard": 5,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sum_of_trees_decides_as_the_upload(path):
    upload = read_upload(path.read_bytes())
    trees = find_trees(make_plain(upload, batch=4))
    assert trees is not None
    assert trees.count == COUNTS.get(path.name.split(".")[0], trees.count)
    x = table(path)
    (raw,) = Session(upload.data).run({upload.input: x}, [upload.output])
    scores, sums = upload.class_scores(raw), trees.scores(x)
    clear = np.sort(sums, axis=1)[:, -1] - np.sort(sums, axis=1)[:, -2] > 2 * trees.rounding
    assert clear.mean() > 0.9
    assert (sums.argmax(axis=1) == scores.argmax(axis=1))[clear].all()
    assert (trees.slack > 0) is (path.stem == "forest_scaled.iris")


def test_a_vote_of_forests_is_no_sum_of_trees():
    upload = read_upload((FOLDER / "vote_forests.iris.onnx").read_bytes())
    assert find_trees(make_plain(upload, batch=4)) is None


def test_a_network_has_no_trees():
    upload = read_upload((FOLDER / "logistic.iris.onnx").read_bytes())
    assert find_trees(make_plain(upload, batch=4)) is None


STUMP = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [1, 0, 0],
    "nodes_modes": ["BRANCH_LT", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
}


def stump(before=(), constants=(), threshold=0.3, mode="BRANCH_LT", tail=(), width=2):
    """A model that asks one thing of the second column of what `before` makes of x."""
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        [before[-1].output[0] if before else "x"],
        ["sums"],
        domain="ai.onnx.ml",
        **{**STUMP, "nodes_modes": [mode, "LEAF", "LEAF"]},
        nodes_values=[threshold, 0.0, 0.0],
        target_treeids=[0, 0, 0, 0],
        target_nodeids=[1, 1, 2, 2],
        target_ids=[0, 1, 0, 1],
        target_weights=[1.0, 0.0, 0.0, 2.0],
        n_targets=2,
        base_values=[0.25, 0.5],
    )
    graph = helper.make_graph(
        [*before, tree, *(tail or [helper.make_node("Identity", ["sums"], ["y"])])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def threshold_of(data, normalisation=None):
    """(feature, the largest float32 that the condition holds for, whether it is the first leaf that lies below)"""
    upload = read_upload(data)
    graph = make_plain(upload, batch=2, normalisation=normalisation)
    trees = find_trees(graph)
    assert trees is not None
    below = int(np.flatnonzero(np.isfinite(trees.upper))[0])
    value = np.float32(trees.upper[below])
    # what the upload itself says on both sides of it
    x = np.zeros((2, 2), np.float32)
    x[:, trees.feature[below]] = value, np.nextafter(value, np.float32(np.inf))
    assert (trees.scores(x)[0] != trees.scores(x)[1]).any()
    if normalisation is None:
        (scores,) = Session(data).run({"x": x})
        assert np.allclose(scores, trees.scores(x))
    return int(trees.feature[below]), value


@pytest.mark.parametrize("mode", ["BRANCH_LT", "BRANCH_LEQ", "BRANCH_GT", "BRANCH_GTE"])
def test_a_threshold_is_exact_to_the_last_float(mode):
    at = np.float32(0.3)
    before = np.nextafter(at, np.float32(-1))
    assert threshold_of(stump(mode=mode)) == (1, before if mode in ("BRANCH_LT", "BRANCH_GTE") else at)


def test_a_scaler_and_a_selection_before_the_trees_are_moved_behind_them():
    """Columns exchanged, then times -3, less 0.1: the threshold of the first feature falls."""
    before = [
        helper.make_node("Gather", ["x", "order"], ["g"], axis=1),
        helper.make_node("Mul", ["g", "scale"], ["m"]),
        helper.make_node("Sub", ["m", "shift"], ["s"]),
    ]
    constants = {
        "order": np.array([1, 0]),
        "scale": np.array([2.0, -3.0], np.float32),
        "shift": np.array([0.0, 0.1], np.float32),
    }
    feature, value = threshold_of(stump(before, constants.items()))
    assert feature == 0
    assert value == pytest.approx(-0.4 / 3, rel=1e-6)


def test_the_declared_normalisation_is_before_the_trees_too():
    feature, value = threshold_of(stump(), Normalisation(mean=(0.5,), std=(0.25,)))
    assert feature == 1
    assert value == pytest.approx(0.5 + 0.3 * 0.25, rel=1e-6)


def test_columns_that_mix_features_are_no_trees_on_the_input():
    before = [helper.make_node("MatMul", ["x", "w"], ["m"])]
    data = stump(before, {"w": np.eye(2, dtype=np.float32)}.items())
    assert find_trees(make_plain(read_upload(data), batch=2)) is None


def test_a_linear_layer_behind_the_trees_is_in_their_leaves():
    tail = [
        helper.make_node("Gemm", ["sums", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    constants = {"w": np.array([[1, -2], [0.5, 3]], np.float32), "b": np.array([0.1, -0.2], np.float32)}
    trees = find_trees(make_plain(read_upload(stump(tail=tail, constants=constants.items())), batch=2))
    x = np.array([[0, 0.2], [0, 0.4]], np.float32)
    sums = np.array([[1.25, 0.5], [0.25, 2.5]])
    assert np.allclose(trees.scores(x), sums @ constants["w"].T + constants["b"])


def test_a_square_of_one_tree_is_one_again():
    tail = [helper.make_node("Mul", ["sums", "sums"], ["y"])]
    trees = find_trees(make_plain(read_upload(stump(tail=tail)), batch=2))
    assert trees is not None
    assert sorted(map(tuple, trees.value.tolist())) == [(0.0625, 6.25), (1.5625, 0.25)]


def test_a_product_of_two_trees_is_no_sum():
    model = onnx.load_from_string(stump(tail=[helper.make_node("Mul", ["sums", "others"], ["y"])]))
    other = model.graph.node.add()
    other.CopyFrom(model.graph.node[0])
    other.output[0] = "others"
    nodes = [model.graph.node[i] for i in (0, 2, 1)]
    product = onnx.ModelProto()
    product.CopyFrom(model)
    del product.graph.node[:]
    product.graph.node.extend(nodes)
    assert find_trees(make_plain(read_upload(product.SerializeToString()), batch=2)) is None


def test_the_one_operator_of_version_5_is_read():
    """Two trees: a membership, and an average with a tree that is a single leaf."""
    floats = TensorProto.FLOAT
    node = helper.make_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=2,
        aggregate_function=0,
        tree_roots=[0, 1],
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [2], [6, 0]),
        nodes_featureids=[0, 1],
        nodes_splits=helper.make_tensor("s", floats, [2], [0.0, 0.5]),
        nodes_truenodeids=[0, 2],
        nodes_trueleafs=[1, 1],
        nodes_falsenodeids=[1, 2],
        nodes_falseleafs=[1, 1],
        leaf_targetids=[0, 1, 1],
        leaf_weights=helper.make_tensor("w", floats, [3], [2.0, 1.0, 0.5]),
        membership_values=helper.make_tensor("v", floats, [3], [1.0, 3.0, float("nan")]),
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", floats, ["N", 2])],
        [helper.make_tensor_value_info("y", floats, ["N", 2])],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    data = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    trees = find_trees(make_plain(read_upload(data), batch=2))
    assert trees is not None
    x = np.array([[1, 0], [2, 0], [3, 1], [np.nextafter(np.float32(3), np.float32(4)), 1]], np.float32)
    (expected,) = Session(data).run({"x": x})
    assert np.allclose(trees.scores(x), expected)
    assert trees.scores(x)[:, 0].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_files_of_others_are_read():
    import os

    zoo = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "zoo"
    if not (zoo / "random_forest_zipmap.onnx").exists():
        pytest.skip("AUDITOR_TESTDATA has no zoo")
    counts = {"random_forest_zipmap.onnx": 100, "xgboost_classifier.onnx": 30}
    for name, count in counts.items():
        trees = find_trees(make_plain(read_upload((zoo / name).read_bytes()), batch=4))
        assert trees is not None
        assert trees.count == count
