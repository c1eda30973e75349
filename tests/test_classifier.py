"""What attacks call: packing, padding, counting, and that no row ever sees its neighbours."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

import auditor
from auditor.classifier import Counted, load_classifier
from auditor.errors import ModelError, NoGradient
from auditor.spec import Loss, Normalisation
from tests.graph.models import linear, text
from tests.zoo import Affine

MLP_SIZES = (24, 48, 10)


def mlp():
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=s).astype(np.float32) for s in itertools.pairwise(MLP_SIZES))
    body = "f (float[N,24] x) => (float[N,10] y) { h = MatMul(x, A) r = Gelu(h) y = MatMul(r, B) }"
    return text(body, opset=20, ir_version=10, A=first, B=second)


@pytest.fixture(params=["convolutions", "dense"])
def network(request, demo_model):
    """A classifier at batch 8, and 21 inputs: three batches, the last one padded."""
    model = demo_model if request.param == "convolutions" else mlp()
    classifier = load_classifier(model, domain=(0.0, 1.0), batch=8, threads=2)
    return classifier, np.random.default_rng(0).random((21, *classifier.shape), dtype=np.float32)


def evaluated(classifier, x, y, loss, active=None):
    found = classifier.gradient(x, y, loss, target=(y + 1) % 10, active=active)
    return {"logits": found.logits, "loss": found.loss, "g": found.g, "scores": classifier.logits(x, active=active)}


def labels(n):
    return np.arange(n) % 10, np.arange(n) % len(Loss)


def test_shuffled_positions_change_no_bit_of_a_row(network):
    classifier, x = network
    y, loss = labels(len(x))
    straight = evaluated(classifier, x, y, loss)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(x))
        shuffled = evaluated(classifier, x[order], y[order], loss[order])
        for name, values in straight.items():
            assert np.array_equal(shuffled[name], values[order]), name


def test_other_neighbours_and_padding_change_no_bit_of_a_row(network):
    classifier, x = network
    y, loss = labels(len(x))
    whole = evaluated(classifier, x, y, loss)
    rows = np.array([3, 11, 20])
    few = evaluated(classifier, x[rows], y[rows], loss[rows])
    other = x.copy()
    other[np.setdiff1d(np.arange(len(x)), rows)] = 1.0
    among_others = evaluated(classifier, other, y, loss)
    for name, values in whole.items():
        assert np.array_equal(few[name], values[rows]), name
        assert np.array_equal(among_others[name][rows], values[rows]), name


def test_inactive_rows_are_zero_and_change_nothing(network):
    classifier, x = network
    y, loss = labels(len(x))
    active = np.arange(len(x)) % 3 == 0
    whole, part = evaluated(classifier, x, y, loss), evaluated(classifier, x, y, loss, active)
    for name, values in whole.items():
        assert np.array_equal(part[name][active], values[active]), name
        assert not part[name][~active].any(), name


def test_no_active_row_is_no_pass(network):
    classifier, x = network
    nobody = np.zeros(len(x), bool)
    assert not classifier.logits(x, active=nobody).any()


def test_every_row_ascends_its_own_loss(network):
    classifier, x = network
    y, mixed = labels(len(x))
    together = evaluated(classifier, x, y, mixed)
    for loss in Loss:
        alone = evaluated(classifier, x, y, loss)
        rows = mixed == loss
        assert np.array_equal(together["g"][rows], alone["g"][rows])
        assert np.array_equal(together["loss"][rows], alone["loss"][rows])


def test_the_margin_of_probabilities_is_that_of_the_softmax(network):
    classifier, x = network
    x, rows = x[:8], np.arange(8)
    y, _ = labels(8)
    here = classifier.gradient(x, y, Loss.PROBABILITY_MARGIN)
    share = softmax(here.logits.astype(np.float64), axis=1)
    rival = np.where(np.arange(classifier.classes) == y[:, None], -1, share).argmax(axis=1)
    assert here.loss == pytest.approx(share[rows, rival] - share[rows, y], abs=1e-6)
    along = -share * (share[rows, rival] - share[rows, y])[:, None]
    along[rows, rival] += share[rows, rival]
    along[rows, y] -= share[rows, y]
    scores = [classifier.gradient(x, y, Loss.LOGIT, target=np.full(8, k)).g for k in range(classifier.classes)]
    expected = np.einsum("nk,kn...->n...", along, np.array(scores, np.float64))
    assert here.g == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


def test_results_are_the_callers_own(network):
    classifier, x = network
    first = classifier.logits(x[:8])
    kept = first.copy()
    classifier.logits(x[8:16])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_that_need_more_classes_fall_back_to_differences(classes):
    classifier = load_classifier(linear(classes=classes), domain=None, batch=2)
    x, y = np.random.default_rng(0).random((2, 4), dtype=np.float32), np.array([0, 1])
    asked, instead = (Loss.DLR, Loss.MARGIN) if classes == 2 else (Loss.TARGETED_DLR, Loss.DIFFERENCE)
    found, expected = (classifier.gradient(x, y, loss, target=1 - y) for loss in (asked, instead))
    assert np.array_equal(found.g, expected.g)


def test_passes_are_counted_per_row():
    counted = Counted(Affine((3,), 3), 4)
    x, y = np.zeros((4, 3), np.float32), np.zeros(4, np.int64)
    counted.logits(x)
    counted.gradient(x, y, Loss.MARGIN, active=np.array([True, False, True, False]))
    assert counted.forwards.tolist() == [2, 1, 2, 1]
    assert counted.backwards.tolist() == [1, 0, 1, 0]


def test_a_layer_gives_its_features_and_the_gradient_along_a_direction_among_them():
    first, second = (np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32) for seed in (0, 1))
    body = "f (float[N,6] x) => (float[N,6] y) { h = MatMul(x, A) r = Relu(h) y = MatMul(r, B) }"
    classifier = load_classifier(text(body, A=first, B=second), domain=None, batch=4, threads=1)
    rng = np.random.default_rng(2)
    x, along = (rng.standard_normal((9, 6)).astype(np.float32) for _ in range(2))
    active = np.arange(9) != 3
    values, g = classifier.layer.at(x, along, active)
    assert classifier.layer.width == 6
    assert values[active] == pytest.approx(np.maximum(x @ first, 0)[active], abs=1e-5)
    assert g[active] == pytest.approx((((x @ first) > 0) * along @ first.T)[active], abs=1e-5)
    assert not values[3].any()
    assert not g[3].any()
    again, none = classifier.layer.at(x, None, active)
    assert np.array_equal(again, values)
    assert not none.any()


def test_position_and_neighbours_change_no_bit_of_a_layer(demo_model):
    """Of a graph whose second half was cut off, with nodes in front that were added last."""
    normalisation = Normalisation(mean=(0.5,), std=(0.25,))
    classifier = load_classifier(demo_model, domain=None, batch=4, threads=1, normalisation=normalisation)
    rng = np.random.default_rng(0)
    x = rng.random((9, *classifier.shape), dtype=np.float32)
    along = rng.standard_normal((9, classifier.layer.width)).astype(np.float32)
    everything, order = np.ones(9, dtype=bool), np.array([7, 2, 5])
    together = classifier.layer.at(x, along, everything)
    apart = classifier.layer.at(x[order], along[order], everything[order])
    for one, other in zip(apart, together, strict=True):
        assert np.array_equal(one, other[order])
    assert together[1].any()


def test_a_layers_passes_are_counted_as_the_classifiers():
    classifier = Affine((3,), 3)
    counted = Counted(classifier, 4)
    active = np.array([True, False, True, False])
    counted.counting(classifier.layer).at(np.zeros((4, 3), np.float32), None, active)
    assert counted.forwards.tolist() == counted.backwards.tolist() == [1, 0, 1, 0]


def test_a_model_is_loaded_from_its_path_or_its_bytes(demo_model, digits):
    by_path = auditor.load_classifier(demo_model, domain=(0, 1))
    by_bytes = auditor.load_classifier(demo_model.read_bytes(), domain=(0, 1))
    by_text = auditor.load_classifier(str(demo_model), domain=(0, 1))
    x, y = digits
    assert np.mean(np.argmax(by_path.logits(x), axis=1) == y) > 0.95
    assert np.array_equal(by_path.logits(x[:9]), by_bytes.logits(x[:9]))
    assert np.array_equal(by_path.logits(x[:9]), by_text.logits(x[:9]))


def test_a_normalisation_is_part_of_the_classifier():
    x = np.random.default_rng(0).random((2, 4), dtype=np.float32)
    plain = load_classifier(linear(), domain=None, batch=2)
    scaled = load_classifier(linear(), domain=None, batch=2, normalisation=Normalisation(mean=(0.5,), std=(2.0,)))
    assert np.array_equal(scaled.logits(x), plain.logits((x - np.float32(0.5)) / np.float32(2)))


def test_a_path_without_a_model_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="no model at"):
        load_classifier(tmp_path / "nothing.onnx", domain=None)
    with pytest.raises(ModelError, match="folder"):
        load_classifier(tmp_path, domain=None)


def test_scores_work_where_a_gradient_does_not():
    model = text("f (float[N,4] x) => (float[N,4] y) { y = Hardmax<axis=1>(x) }")
    classifier = load_classifier(model, domain=None, batch=2)
    x = np.array([[0, 1, 0, 0], [0, 0, 3, 0]], np.float32)
    assert np.argmax(classifier.logits(x), axis=1).tolist() == [1, 2]
    with pytest.raises(NoGradient):
        classifier.gradient(x, np.array([0, 0]), Loss.MARGIN)


@pytest.mark.parametrize(("name", "dtype"), [("float16", np.float16), ("double", np.float64)])
def test_the_gradient_of_another_precision_is_that_of_single(name, dtype):
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=s) for s in itertools.pairwise(MLP_SIZES))

    def network(kind, stored):
        body = f"f ({kind}[N,24] x) => ({kind}[N,10] y) {{ h = MatMul(x, A) r = Relu(h) y = MatMul(r, B) }}"
        return load_classifier(text(body, A=first.astype(stored), B=second.astype(stored)), domain=None, batch=4)

    x, y = rng.random((5, 24), dtype=np.float32), np.arange(5)
    other, single = (c.gradient(x, y, Loss.MARGIN).g for c in (network(name, dtype), network("float", np.float32)))
    assert np.allclose(other, single, rtol=0, atol=2e-2 * np.abs(single).max())
