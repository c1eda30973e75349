"""Surrogates for slopes that lead nowhere: each against its formula, and never in the way of the model's own scores."""

import numpy as np
import pytest

from auditor import runtime
from auditor.autodiff.coverage import obstacles, substitutes
from auditor.classifier import OnnxClassifier
from auditor.errors import NoGradient
from auditor.graph.plain import make_plain
from auditor.graph.upload import read_upload
from auditor.spec import Loss
from tests.graph.models import KERNEL, text

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype(np.float32)
V = RNG.normal(size=(3, 3)).astype(np.float32)
X = RNG.random((5, 4), dtype=np.float32)
H = X @ W
TARGET = np.array([0, 1, 2, 1, 0])
LEVELS = RNG.integers(0, 255, (4, 3)).astype(np.uint8)

NUMBERS = {
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "fifteen": np.float32(15),
    "bytes": np.float32(255),
    "sixteen": np.int32(16),
    "four": np.uint8(4),
    "mask": np.uint8(0xF0),
    "shape": np.array([-1, 4]),
    "three": np.array(3),
    "ends": np.array([0, 1], np.float32),
    "step": np.float32(1 / 15),
    "origin": np.uint8(0),
    "middle": np.uint8(128),
    "levels": LEVELS,
    "tenth": np.float32(0.1),
    "per_class": np.array([0.01, 0.02, 0.03], np.float32),
    "half_row": np.array([0.5, 0.25, 0.125], np.float32),
}


def plain(body, **constants):
    used = {name: value for name, value in NUMBERS.items() if name in body}
    body = f"f (float[N,4] x) => (float[N,3] y) {{ {body} }}"
    return make_plain(read_upload(text(body, opset=21, W=W, V=V, **used, **constants)), batch=4)


def gradient(graph, policy="straight-through", x=X):
    """Of the target's score."""
    classifier = OnnxClassifier(graph, domain=None, policy=policy)
    return classifier.gradient(x, np.zeros(len(x), np.int64), Loss.LOGIT, target=TARGET[: len(x)]).g


def gentle(x):
    return 1 / (1 + np.abs(x)) ** 2


def through(slopes):
    """The gradient of the target's score V[k, t] a_k, where a_k has these slopes in h_k."""
    return (slopes * V[:, TARGET].T) @ W.T


SOFTMAX = np.exp(H) / np.exp(H).sum(axis=1, keepdims=True)
PICKED = SOFTMAX * (V[:, TARGET].T - np.sum(SOFTMAX * V[:, TARGET].T, axis=1, keepdims=True))

CASES = {
    "Round": ("k = Mul(x, fifteen) r = Round(k) d = Div(r, fifteen) y = MatMul(d, W)", W[:, TARGET].T),
    "Floor": ("k = Floor(x) y = MatMul(k, W)", W[:, TARGET].T),
    "Ceil": ("k = Ceil(x) y = MatMul(k, W)", W[:, TARGET].T),
    "Mod": ("k = Mul(x, fifteen) m = Mod<fmod=1>(k, one) r = Sub(k, m) y = MatMul(r, W)", 15 * W[:, TARGET].T),
    "Sign": ("h = MatMul(x, W) a = Sign(h) y = MatMul(a, V)", through(gentle(H))),
    "Greater": (
        "h = MatMul(x, W) g = Greater(h, tenth) a = Cast<to=1>(g) y = MatMul(a, V)",
        through(gentle(H - 0.1) / 2),
    ),
    "LessOrEqual": (
        "h = MatMul(x, W) g = LessOrEqual(h, tenth) a = Cast<to=1>(g) y = MatMul(a, V)",
        through(-gentle(H - 0.1) / 2),
    ),
    "Not, Where": (
        "h = MatMul(x, W) g = Less(h, tenth) n = Not(g) a = Where(n, two, zero) y = MatMul(a, V)",
        through(gentle(H - 0.1)),
    ),
    "And": (
        "h = MatMul(x, W) g = Greater(h, zero) l = Less(h, one) b = And(g, l) a = Cast<to=1>(b) y = MatMul(a, V)",
        through((gentle(H) * (H < 1) - gentle(H - 1) * (H > 0)) / 2),
    ),
    "Or": (
        "h = MatMul(x, W) g = Greater(h, one) l = Less(h, zero) b = Or(g, l) a = Cast<to=1>(b) y = MatMul(a, V)",
        through((gentle(H - 1) * (H >= 0) - gentle(H) * (H <= 1)) / 2),
    ),
    "Xor": (
        "h = MatMul(x, W) g = Greater(h, one) l = Greater(h, zero) b = Xor(g, l) a = Cast<to=1>(b) y = MatMul(a, V)",
        through((gentle(H - 1) * (1 - 2 * (H > 0)) + gentle(H) * (1 - 2 * (H > 1))) / 2),
    ),
    "Hardmax": ("h = MatMul(x, W) a = Hardmax<axis=1>(h) y = MatMul(a, V)", PICKED @ W.T),
    "ArgMax, OneHot": (
        "h = MatMul(x, W) i = ArgMax<axis=1,keepdims=0>(h) a = OneHot<axis=-1>(i, three, ends) e = MatMul(a, V) "
        "y = Identity(e)",
        PICKED @ W.T,
    ),
    "Cast, BitShift": (
        'k = Mul(x, bytes) r = Cast<to=2>(k) s = BitShift<direction="RIGHT">(r, four) '
        't = BitShift<direction="LEFT">(s, four) d = Cast<to=1>(t) y = MatMul(d, W)',
        255 * W[:, TARGET].T,
    ),
    "BitwiseAnd": (
        "k = Mul(x, bytes) r = Cast<to=2>(k) s = BitwiseAnd(r, mask) d = Cast<to=1>(s) y = MatMul(d, W)",
        255 * W[:, TARGET].T,
    ),
    "whole numbers": (
        "k = Mul(x, bytes) r = Cast<to=6>(k) t = Div(r, sixteen) u = Mul(sixteen, t) v = Reshape(u, shape) "
        "d = Cast<to=1>(v) y = MatMul(d, W)",
        255 * W[:, TARGET].T,
    ),
    "QuantizeLinear": (
        "q = QuantizeLinear(x, step, origin) d = DequantizeLinear(q, step, origin) y = MatMul(d, W)",
        W[:, TARGET].T,
    ),
    "QuantizeLinear per channel": (
        "h = MatMul(x, W) q = QuantizeLinear<axis=1>(h, half_row) d = DequantizeLinear<axis=1>(q, half_row) "
        "y = MatMul(d, V)",
        through((-0.5 * NUMBERS["half_row"] <= H) * 1.0),
    ),
    "QLinearMatMul": (
        "q = QuantizeLinear(x, step, origin) "
        "k = QLinearMatMul(q, step, origin, levels, tenth, middle, two, middle) y = DequantizeLinear(k, two, middle)",
        0.1 * (LEVELS[:, TARGET].T - np.float32(128)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_surrogate_is_what_its_formula_says(name):
    body, expected = CASES[name]
    graph = plain(body)
    assert obstacles(graph) or _nowhere(graph)
    assert obstacles(graph, "straight-through") == []
    assert substitutes(graph, "straight-through")
    np.testing.assert_allclose(gradient(graph), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def _nowhere(graph):
    try:
        return not gradient(graph, "true").any()
    except NoGradient:
        return True


@pytest.mark.parametrize("name", CASES)
def test_the_scores_beside_a_surrogate_are_the_models_own(name):
    graph = plain(CASES[name][0])
    classifier = OnnxClassifier(graph, domain=None, policy="straight-through")
    scores = classifier.gradient(X, TARGET, Loss.MARGIN).logits
    np.testing.assert_array_equal(scores, OnnxClassifier(graph, domain=None).logits(X))


def test_what_is_cut_off_by_the_range_of_levels_has_no_slope():
    graph = plain(CASES["QuantizeLinear"][0])
    x = np.array([[-3.0, 0.0, 17.0, 1.0]], np.float32)
    expected = np.array([0, 1, 1, 1]) * W[:, TARGET[0]]
    np.testing.assert_allclose(gradient(graph, x=x)[0], expected, rtol=1e-6)
    far = np.array([[18.0, 0.0, 17.0, 1.0]], np.float32)
    assert gradient(graph, x=far)[0, 0] == 0


def test_dynamic_quantisation_is_followed_through_its_integers():
    body = (
        "q, s, z = DynamicQuantizeLinear(x) k = MatMulInteger(q, levels, z, middle) f = Cast<to=1>(k) y = Mul(f, s)"
    )
    graph = plain(body)
    # One at a time: the largest of a batch sets the scale of all.
    alone = make_plain(read_upload(_upload(body)), batch=1)
    g = np.concatenate([gradient(alone, x=X[:1])])
    weight = LEVELS[:, TARGET[0]].astype(np.float32) - 128
    inner = np.argsort(X[0])[:-1]  # the largest also moves the scale
    np.testing.assert_allclose(g[0, inner], weight[inner], rtol=1e-3)
    assert {s.operator for s in substitutes(graph, "straight-through")} == {"QuantizeLinear"}


def _upload(body):
    used = {name: value for name, value in NUMBERS.items() if name in body}
    return text(f"f (float[N,4] x) => (float[N,3] y) {{ {body} }}", opset=21, **used)


@pytest.mark.parametrize("integer", [True, False])
def test_a_quantised_convolution_has_the_slope_of_its_weights(integer):
    levels = np.clip(np.round(KERNEL * 40) + 128, 0, 255).astype(np.uint8)
    conv = (
        "k = ConvInteger(q, K, origin, middle) c = Cast<to=1>(k)"
        if integer
        else "k = QLinearConv(q, step, origin, K, step, middle, one, middle) c = DequantizeLinear(k, one, middle)"
    )
    body = f"q = QuantizeLinear(x, step, origin) {conv} p = GlobalAveragePool(c) y = Flatten(p)"
    model = f"f (float[N,3,6,6] x) => (float[N,4] y) {{ {body} }}"
    constants = {name: NUMBERS[name] for name in ("step", "origin", "middle", "one")}
    graph = make_plain(read_upload(text(model, opset=21, K=levels, **constants)), batch=2)
    x = RNG.random((2, 3, 6, 6), dtype=np.float32)
    g = OnnxClassifier(graph, domain=None, policy="straight-through").gradient(
        x, np.zeros(2, np.int64), Loss.LOGIT, target=np.array([0, 1])
    )
    scale = 15.0 if integer else 1 / 15
    weight = (levels.astype(np.float32) - 128)[[0, 1]] * scale
    # Every window lies inside the image: the whole gradient is sixteen copies of the kernel, averaged over 16 places.
    np.testing.assert_allclose(g.g.sum(axis=(2, 3)), weight.sum(axis=(2, 3)), rtol=1e-3)


def test_a_choice_between_live_values_keeps_its_own_slope():
    body = "h = MatMul(x, W) g = Greater(h, zero) l = Mul(h, tenth) y = Where(g, h, l)"
    graph = plain(body)
    np.testing.assert_array_equal(gradient(graph), gradient(graph, "true"))
    assert substitutes(graph, "straight-through") == []


def test_a_choice_among_activations_is_a_step_where_it_is_asked_for():
    """Of h those above a tenth go on: beside the slope of these, a step as high as h lies at a tenth."""
    graph = plain("h = MatMul(x, W) g = Greater(h, tenth) a = Where(g, h, zero) y = MatMul(a, V)")
    assert {s.operator for s in substitutes(graph, "choices")} == {"Greater", "Where"}
    expected = through((H > 0.1) + H * gentle(H - 0.1) / 2)
    np.testing.assert_allclose(gradient(graph, "choices"), expected, rtol=1e-4, atol=1e-5)


def test_saturated_activations_keep_a_slope_only_where_it_is_asked_for():
    graph = plain("h = MatMul(x, W) k = Mul(h, bytes) s = Sigmoid(k) t = Tanh(k) a = Add(s, t) y = MatMul(a, V)")
    assert substitutes(graph, "straight-through") == []
    assert {s.operator for s in substitutes(graph, "unsaturated")} == {"Sigmoid", "Tanh"}
    expected = through(255 * (gentle(255 * H / 2) / 4 + gentle(255 * H)))
    np.testing.assert_allclose(gradient(graph, "unsaturated"), expected, rtol=1e-3, atol=1e-4)


def test_hard_sigmoid_keeps_a_slope_on_both_sides():
    graph = plain("h = MatMul(x, W) k = Mul(h, bytes) a = HardSigmoid(k) y = MatMul(a, V)")
    expected = through(255 * 0.2 * gentle(0.4 * 255 * H))
    np.testing.assert_allclose(gradient(graph, "unsaturated"), expected, rtol=1e-3, atol=1e-4)


def test_without_a_policy_nothing_passes():
    graph = plain(CASES["Round"][0])
    with pytest.raises(NoGradient):
        gradient(graph, "true")


def test_a_label_that_looks_up_a_table_is_no_path():
    graph = plain(
        "c = Clip(x, zero, one) r = Cast<to=7>(c) t = Gather(W, r) d = ReduceSum<keepdims=0>(t, axis) y = Add(d, zero)",
        axis=np.array([1]),
    )
    with pytest.raises(NoGradient):
        gradient(graph)


def test_the_produced_graph_runs_without_optimisation_too():
    from auditor.autodiff.compile import gradient_model

    model = gradient_model(plain(CASES["whole numbers"][0]), policy="straight-through")
    feeds = {"x": X[:4], "auditor_y": TARGET[:4], "auditor_target": TARGET[:4], "auditor_loss": np.full(4, 6)}
    session = runtime.Session(model, optimise="none")
    feeds = {name: feeds.get(name, np.full(4, int(Loss.LOGIT))) for name in session.inputs}
    (g,) = session.run(feeds, ["auditor_gradient"])
    np.testing.assert_allclose(g, 255 * W[:, TARGET[:4]].T, rtol=1e-4)
