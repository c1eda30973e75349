"""The features behind a last linear layer, and other layers in its place."""

import numpy as np
import pytest

from auditor import runtime
from auditor.autodiff.compile import forward_model
from auditor.graph.plain import make_plain
from auditor.graph.readout import features, middle, with_readouts
from auditor.graph.upload import read_upload
from tests.graph.models import WEIGHT, attention, convolution, linear, text

X = np.random.default_rng(4).random((5, 4)).astype(np.float32)


def plain(data, batch=5, shape=None):
    return make_plain(read_upload(data), batch=batch, shape=shape)


def scores(graph, x):
    session = runtime.Session(forward_model(graph))
    return session.run({graph.x.name: x}, [graph.logits.name])[0]


def hidden(tail):
    body = f"f (float[N,4] x) => (float[N,3] y) {{ h = MatMul(x, V) r = Relu(h) {tail} }}"
    return text(
        body, V=np.tile(WEIGHT, 2)[:, :5], W=np.ones((5, 3), np.float32), b=np.ones(3, np.float32), T=np.float32(2)
    )


@pytest.mark.parametrize(
    "tail",
    [
        "y = MatMul(r, W)",
        "y = Gemm(r, W, b)",
        "z = MatMul(r, W) a = Add(b, z) y = Div(a, T)",
        "z = Gemm(r, W, b) y = Softmax<axis=-1>(z)",
    ],
)
def test_features_are_what_the_last_linear_layer_reads(tail):
    found = features(plain(hidden(tail)))
    assert found.classes == 5
    assert np.allclose(scores(found, X), np.maximum(X @ np.tile(WEIGHT, 2)[:, :5], 0), atol=1e-6)


def test_features_of_a_convolution_come_as_rows():
    found = features(plain(convolution(), batch=2))
    assert (found.classes, scores(found, np.zeros((2, 3, 6, 6), np.float32)).shape) == (4, (2, 4))


@pytest.mark.parametrize("tail", ["y = Relu(z)", "y = Tanh(z)", "y = MatMul(z, z)"])
def test_behind_anything_that_is_not_linear_there_are_none(tail):
    square = linear(tail) if "MatMul" not in tail else hidden("q = MatMul(r, W) t = Transpose(q) y = Mul(q, q)")
    assert features(plain(square)) is None


def test_a_linear_model_reads_its_own_input():
    assert np.array_equal(scores(features(plain(linear())), X), X)


def test_readouts_take_the_place_of_the_layer_and_leave_the_graph_alone():
    graph = plain(hidden("y = MatMul(r, W)"))
    before = scores(graph, X)
    found = features(graph)
    weights, offsets = np.random.default_rng(1).normal(size=(5, 2)), np.array([0.5, -1.0])
    assert np.allclose(
        scores(with_readouts(graph, weights, offsets), X), scores(found, X) @ weights + offsets, atol=1e-5
    )
    assert np.array_equal(scores(graph, X), before)


SQUARES = {
    name: np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32) for seed, name in enumerate("ABCD")
}


def deep(body):
    head = "f (float[N,4] x) => (float[N,3] y)"
    used = {name: w for name, w in SQUARES.items() if f", {name})" in body}
    return plain(text(f"{head} {{ {body} }}", W=WEIGHT, **used))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = MatMul(x, A) r = Relu(a) b = MatMul(r, B) s = Tanh(b) y = MatMul(s, W)", lambda a, b: np.tanh(b(a))),
        ("a = MatMul(x, A) r = Relu(a) y = MatMul(r, W)", lambda a, b: a),
        # around the skip the way is two values wide
        ("a = MatMul(x, A) r = Relu(a) b = MatMul(r, B) s = Add(b, r) y = MatMul(s, W)", lambda a, b: b(a) + a),
        # the values between the second layer and the fourth are nearer to the middle, and none is alone
        (
            "a = MatMul(x, A) r = Relu(a) b = MatMul(r, B) c = MatMul(b, C) d = MatMul(c, D) s = Add(d, r) y = MatMul(s, W)",
            lambda a, b: b(a) @ SQUARES["C"] @ SQUARES["D"] + a,
        ),
    ],
)
def test_the_middle_is_where_every_way_leads_through_halfway_between_the_layers(body, expected):
    first = np.maximum(X @ SQUARES["A"], 0)
    assert np.allclose(scores(middle(deep(body)), X), expected(first, lambda a: a @ SQUARES["B"]), atol=1e-5)


def test_of_one_layer_the_middle_is_its_scores():
    graph = plain(linear())
    assert middle(graph) is graph


def test_a_sequence_as_long_as_the_batch_is_no_middle():
    """Its rows may be the examples or the places: the batch is 3, and so are the tokens."""
    for sequence_first in (True, False):
        graph = plain(attention(batch=3, sequence_first=sequence_first), batch=3)
        assert middle(graph).classes in (3, 4)  # the class token's features, or the scores
