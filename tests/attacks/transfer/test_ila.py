"""What follows a layer inside the surrogate, on a network whose layer is known."""

import numpy as np
import pytest

from auditor.attacks.norms import distance, unit
from auditor.attacks.transfer import METHODS, Method, abreast, transfer
from auditor.classifier import load_classifier
from auditor.errors import SpecError
from auditor.spec import Loss
from tests.graph.models import text
from tests.zoo import Affine

A, B = (
    np.random.default_rng(seed).normal(size=size).astype(np.float32) for seed, size in ((0, (12, 7)), (1, (7, 4)))
)


def network():
    body = "f (float[N,12] x) => (float[N,4] y) { h = MatMul(x, A) r = Relu(h) y = MatMul(r, B) }"
    return load_classifier(text(body, A=A, B=B), domain=None, batch=4, threads=1)


def features(x):
    return np.maximum(x @ A, 0)


def examples(n):
    x = np.random.default_rng(2).standard_normal((n, 12)).astype(np.float32)
    return x, (features(x) @ B).argmax(axis=1)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_features_are_led_on_the_way_they_have_gone(norm, rng):
    classifier = network()
    x, y = examples(9)
    given = {"surrogate": classifier, "eps": np.full(9, 0.3), "norm": norm, "rng": rng(9), "loss": Loss.CROSS_ENTROPY}
    before, after = _last_points(classifier, x, y, given, [Method(), METHODS["ila"]])
    way = features(before) - features(x)
    length = np.linalg.norm(way, axis=1)
    gone = [np.sum((features(points) - features(x)) * way, axis=1) / length for points in (before, after)]
    assert np.all(gone[1] >= gone[0] - 1e-4)
    assert np.mean(gone[1] > 1.01 * gone[0]) > 0.5
    assert np.all(distance(np, after, x, norm) <= 0.3)


def _last_points(classifier, x, y, given, methods):
    """Where each method ends, whether or not that breaks anything."""

    class Judge(Affine):
        def logits(self, points, *, active=None):
            self.asked = points
            return super().logits(points, active=active)

    for method in methods:
        judge = Judge((12,), 4)
        transfer(judge, x, y, method=method, layer=classifier.layer, **given)
        yield judge.asked


def test_a_direction_is_followed_at_unit_length_in_each_of_several_models():
    first, second = network(), network()
    x, _ = examples(3)
    rows = np.array([True, False, True])
    layer = abreast(np, [first.layer, second.layer])
    assert layer.width == 14
    along = np.random.default_rng(3).standard_normal((3, 14)).astype(np.float32)
    along[:, 7:] *= 1e3
    values, g = layer.at(x, along, rows)
    assert np.array_equal(values[:, :7], values[:, 7:])
    alone = [first.layer.at(x, unit(np, part, "L2"), rows)[1] for part in (along[:, :7], along[:, 7:])]
    assert np.array_equal(g, sum(alone))
    assert not values[1].any()
    assert not g[1].any()


def test_without_a_layer_it_says_what_is_missing(rng):
    classifier = network()
    x, y = examples(2)
    given = {"surrogate": classifier, "eps": np.ones(2), "norm": "Linf", "rng": rng(2)}
    with pytest.raises(SpecError, match="layer"):
        transfer(classifier, x, y, method=METHODS["ila"], **given)
