"""Behind an end that saturates: where scores rise together, and up to where an upload tells them apart."""

import numpy as np
import pytest

from auditor.attacks import Random, minimal_apgd
from auditor.attacks.verify import Verifier
from auditor.classifier import OnnxClassifier
from auditor.graph.plain import make_plain
from auditor.graph.saturation import unsaturated
from auditor.graph.upload import read_upload
from auditor.spec import Loss
from tests.graph.models import WEIGHT, linear

X = np.random.default_rng(4).random((12, 4)).astype(np.float32)
EYE = np.eye(3, dtype=np.float32)
SHARP = "s = Mul(z, k) q = Sigmoid(s) y = MatMul(q, E)"


def graph(tail, **constants):
    return make_plain(read_upload(linear(tail, **constants)), batch=4)


@pytest.mark.parametrize(
    ("tail", "constants"),
    [
        (SHARP, {"k": np.float32(40), "E": 2 * EYE}),
        ("t = Tanh(z) a = Add(t, k) y = Div(a, k)", {"k": np.float32(3)}),
        ("s = Sigmoid(z) y = Gemm(s, E, b)", {"E": EYE, "b": np.ones(3, np.float32)}),
        ("s = Softmax<axis=1>(z) y = Mul(s, k)", {"k": np.float32(3)}),
    ],
)
def test_scores_that_rise_together_are_followed_behind(tail, constants):
    found = unsaturated(graph(tail, **constants))
    scale = constants["k"] if "E" in constants and "k" in constants else 1
    classifier = OnnxClassifier(found, domain=(0.0, 1.0))
    expected = np.clip(X @ WEIGHT * scale, *(found.band or (-np.inf, np.inf)))
    np.testing.assert_allclose(classifier.logits(X), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("tail", "constants"),
    [
        ("s = Sigmoid(z) y = MatMul(s, E)", {"E": np.diag([1, 2, 1]).astype(np.float32)}),
        ("s = Sigmoid(z) y = Mul(s, k)", {"k": np.float32(-1)}),
        ("s = Sigmoid(z) y = Sub(k, s)", {"k": np.float32(1)}),
        ("s = Sigmoid(z) y = Add(s, b)", {"b": np.array([0, 1, 0], np.float32)}),
        ("y = Mul(z, k)", {"k": np.float32(2)}),
        ("s = Sigmoid(z) y = Add(s, z)", {}),
    ],
)
def test_what_does_not_keep_the_order_or_does_not_saturate_is_left_alone(tail, constants):
    plain = graph(tail, **constants)
    assert unsaturated(plain) is plain


def test_the_labels_score_never_loses_its_slope_and_scores_are_equal_where_the_upload_takes_them_for_equal():
    found = unsaturated(graph(SHARP, k=np.float32(40), E=EYE))
    lower, upper = found.band
    assert -110 < lower < -10  # a sigmoid in float32 ends about there
    assert 10 < upper < 18
    classifier = OnnxClassifier(found, domain=(0.0, 1.0))
    here = classifier.gradient(X, np.zeros(12, np.int64), Loss.LOGIT, target=np.zeros(12, np.int64))
    z = 40 * X @ WEIGHT
    np.testing.assert_allclose(here.loss, np.maximum(z[:, 0], lower), rtol=1e-4)
    np.testing.assert_allclose(here.g, np.where(z[:, :1] > lower, 40 * WEIGHT[:, 0], 0), rtol=1e-5)
    assert here.logits.max() <= upper
    margins = classifier.gradient(X, np.zeros(12, np.int64), Loss.MARGIN).loss
    expected = np.minimum(z[:, 1:], upper).max(axis=1) - np.maximum(z[:, 0], lower)
    np.testing.assert_allclose(margins, expected, rtol=1e-4, atol=1e-4)


def test_an_attack_finds_what_the_upload_confirms_where_its_own_slopes_are_zero():
    """Far from the boundary every sigmoid is 0 or 1."""
    upload = read_upload(linear(SHARP, k=np.float32(400), E=EYE))
    plain = make_plain(upload, batch=4)
    y = np.argmax(X @ WEIGHT, axis=1)
    masked, followed = (OnnxClassifier(g, domain=(0.0, 1.0)) for g in (plain, unsaturated(plain)))
    assert not masked.gradient(X, y, Loss.MARGIN).g.any(axis=1).all()
    rng, ceiling = Random.keyed(np, 0, "test", np.arange(12)), np.full(12, np.inf)
    attempt = minimal_apgd(followed, X, y, norm="Linf", rng=rng, ceiling=ceiling)
    verifier = Verifier(upload, domain=(0.0, 1.0))
    confirmed = [verifier.check(x, int(label)).counts for x, label in zip(attempt.x_adv, y, strict=True)]
    assert sum(confirmed) >= 0.7 * attempt.found.sum()
    assert attempt.found.sum() >= 6
