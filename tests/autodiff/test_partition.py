"""Sibling slices that make up a whole tensor become one Split; any others stay as they are."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from auditor.autodiff.gradient import backward
from auditor.autodiff.partition import join_slices
from auditor.graph.build import Builder, shape_of
from auditor.graph.plain import serialise
from auditor.runtime import evaluate


def sliced(*spans: tuple[int, int], axis: int = 1, step: int = 1) -> tuple[ir.Model, Builder]:
    """The sum of squares of slices of x (3, 6), each scaled by its number."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=[3, 6])
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 21}, name="sliced")
    op = Builder(graph)
    parts = [op.Slice(x, op.ints([a]), op.ints([b]), op.ints([axis]), op.ints([step])) for a, b in spans]
    sums = [op.Mul(op.ReduceSumSquare(part, keepdims=0), float(i + 1)) for i, part in enumerate(parts)]
    z = sums[0]
    for more in sums[1:]:
        z = op.Add(z, more)
    z.name = "z"
    graph.outputs.append(z)
    return ir.Model(graph, ir_version=10), op


def gradient(model: ir.Model, op: Builder, *, joined: bool) -> tuple[np.ndarray, list[str]]:
    if joined:
        join_slices(op, model)
    (z,), (x,) = model.graph.outputs, model.graph.inputs
    (g,) = backward(op, {z: op.const(1.0, like=z)}, [x])
    assert g is not None
    g.name = "g"
    model.graph.outputs.append(g)
    RemoveUnusedNodesPass()(model)
    data = serialise(model)
    onnx.checker.check_model(data, full_check=True)
    values = np.arange(18, dtype=np.float32).reshape(shape_of(x))
    return evaluate(data, {"x": values})[1], [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    "spans", [[(0, 2), (2, 6)], [(4, 9), (0, 1), (1, 4)], [(-2, 6), (0, -2)], [(0, 3), (3, 6), (0, 3)]]
)
def test_a_partition_becomes_one_split(spans: list[tuple[int, int]]) -> None:
    plain, _ = gradient(*sliced(*spans), joined=False)
    joined, operators = gradient(*sliced(*spans), joined=True)
    np.testing.assert_array_equal(joined, plain)
    assert operators.count("Split") == 1
    assert "Slice" not in operators


@pytest.mark.parametrize("spans", [[(0, 2), (3, 6)], [(0, 4), (2, 6)], [(0, 6)], [(1, 3), (3, 6)], [(0, 2), (2, 5)]])
def test_what_leaves_gaps_or_overlaps_stays(spans: list[tuple[int, int]]) -> None:
    plain, _ = gradient(*sliced(*spans), joined=False)
    joined, operators = gradient(*sliced(*spans), joined=True)
    np.testing.assert_array_equal(joined, plain)
    assert "Split" not in operators


def test_slices_with_a_step_stay() -> None:
    _, operators = gradient(*sliced((0, 4), (4, 6), step=2), joined=True)
    assert "Split" not in operators


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_keys_that_were_transposed_get_the_gradient_of_a_product(scale: float) -> None:
    q = ir.val("q", dtype=ir.DataType.FLOAT, shape=[2, 3, 4])
    k = ir.val("k", dtype=ir.DataType.FLOAT, shape=[2, 5, 4])
    graph = ir.Graph([q, k], [], nodes=[], opset_imports={"": 21}, name="attention")
    op = Builder(graph)
    scores = op.MatMul(q, op.Mul(op.Transpose(k, perm=[0, 2, 1]), op.const([scale], like=k)))
    g = op.Mul(scores, scores)
    (gk,) = backward(op, {scores: g}, [k])
    assert gk is not None
    gk.name = "gk"
    graph.outputs.append(gk)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=(2, 5, 4)).astype(np.float32)
    (found,) = evaluate(serialise(ir.Model(graph, ir_version=10)), {"q": a, "k": b})
    wanted = scale * np.einsum("nqk,nqd->nkd", (scale * np.einsum("nqd,nkd->nqk", a, b)) ** 2, a)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
