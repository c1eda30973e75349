"""Attacks on models of several labels at once: affine ones, where the nearest point that changes any decision is known."""

import numpy as np
import pytest

from auditor.attacks.attempt import margin
from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.norms import distance
from auditor.attacks.shown import shown
from auditor.attacks.verify import Verifier
from auditor.classifier import OnnxClassifier
from auditor.graph.labelset import decode, encode
from auditor.graph.plain import make_plain
from auditor.graph.reading import Reading
from auditor.graph.upload import read_upload
from auditor.spec import Loss
from tests.graph.models import text

FEATURES, N = 12, 6
DUAL = {"Linf": 1, "L2": 2, "L1": np.inf}
HEADS = {"logits": "y = Identity(z)", "probabilities": "y = Sigmoid(z)"}


class Affine:
    """K labels, each above its own plane; tail: how the scores leave the file, threshold: as it is declared."""

    def __init__(self, labels, tail="y = Identity(z)", threshold=None):
        rng = np.random.default_rng(labels)
        self.weights = rng.standard_normal((FEATURES, labels)).astype(np.float32)
        self.offsets = rng.standard_normal(labels).astype(np.float32)
        self.x = rng.standard_normal((N, FEATURES)).astype(np.float32)
        body = f"f (float[N,{FEATURES}] x) => (float[N,{labels}] y) {{ h = MatMul(x, W) z = Add(h, b) {tail} }}"
        data = text(body, W=self.weights, b=self.offsets)
        self.upload = read_upload(data, multilabel=True, threshold=threshold)
        inside = threshold or 0.0
        if "Sigmoid" in tail and threshold is not None:
            inside = np.log(threshold / (1 - threshold))
        self.above = (self.x @ self.weights + self.offsets).astype(np.float64) - inside
        self.y = encode(np, self.above > 0)

    def classifier(self, batch=N):
        return OnnxClassifier(make_plain(self.upload, batch=batch), domain=None)

    def nearest(self, norm):
        """(n,): how far it is to the nearest of the planes."""
        size = np.linalg.norm(self.weights.astype(np.float64), ord=DUAL[norm], axis=0)
        return np.min(np.abs(self.above) / size, axis=1)


def test_a_set_of_labels_is_one_number_and_back():
    present = np.random.default_rng(0).random((40, 53)) < 0.5
    sets = encode(np, present)
    assert sets.dtype == np.int64
    assert np.array_equal(decode(np, sets, 53), present)
    assert sets.tolist() == [sum(2**k for k in np.flatnonzero(row).tolist()) for row in present]


@pytest.mark.parametrize("labels", [1, 2, 10, 53])
@pytest.mark.parametrize("tail", HEADS.values(), ids=HEADS)
def test_the_scores_shown_are_broken_exactly_where_any_decision_is(labels, tail):
    model = Affine(labels, tail)
    seen, y = shown(model.classifier(), model.y, model.upload.reading)
    assert seen.classes == labels + 1
    assert not y.any()
    points = model.x + np.random.default_rng(1).standard_normal(model.x.shape).astype(np.float32)
    changed = encode(np, points @ model.weights + model.offsets > 0) != model.y
    assert np.array_equal(margin(np, seen.logits(points), y) > 0, changed)
    assert (margin(np, seen.logits(model.x), y) < 0).all()


@pytest.mark.parametrize("loss", [Loss.MARGIN, Loss.CROSS_ENTROPY, Loss.DLR, Loss.DIFFERENCE])
@pytest.mark.parametrize("labels", [2, 10, 53])
def test_the_losses_are_those_of_the_scores_that_are_shown(loss, labels):
    model = Affine(labels)
    seen, y = shown(model.classifier(), model.y, model.upload.reading)
    target = np.full(N, 1)
    found = seen.gradient(model.x, y, loss, target=target)
    assert np.array_equal(found.logits, seen.logits(model.x))
    if loss == Loss.MARGIN:
        assert np.allclose(found.loss, margin(np, found.logits, y), atol=1e-5)
    step, size = 3e-3, np.linalg.norm(found.g, axis=1, keepdims=True)
    along = found.g / np.maximum(size, 1e-9)
    upper, lower = (
        seen.gradient(model.x + np.float32(sign * step) * along, y, loss, target=target).loss for sign in (1, -1)
    )
    rows = size[:, 0] > 1e-2
    assert rows.any()
    apart = np.abs((upper - lower) / (2 * step) - size[:, 0]) / np.maximum(size[:, 0], 1e-9)
    assert np.median(apart[rows]) < 0.01  # a row may cross a kink


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("labels", [1, 2, 10])
def test_the_nearest_plane_is_found(labels, norm, rng):
    model = Affine(labels, HEADS["probabilities"])
    seen, y = shown(model.classifier(batch=4), model.y, model.upload.reading)
    given = {"norm": norm, "rng": rng(N), "ceiling": np.full(N, np.inf), "steps": 100}
    attempt = CATALOGUE["fab"].function(seen, model.x, y, **given)
    assert attempt.found.all()
    ratio = distance(np, attempt.x_adv, model.x, norm) / model.nearest(norm)
    assert (ratio >= 1 - 1e-5).all()
    assert np.median(ratio) <= 1.02
    assert (ratio <= 1.2).all()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_threshold_moves_every_plane(threshold, rng):
    """Of probabilities to where it lies in front of the Sigmoid; the upload's own comparison decides."""
    model = Affine(4, HEADS["probabilities"], threshold)
    seen, y = shown(model.classifier(), model.y, model.upload.reading)
    verifier = Verifier(model.upload, domain=None)
    assert [verifier.answer(verifier.scores(x)) for x in model.x] == model.y.tolist()
    attempt = CATALOGUE["fab"].function(
        seen, model.x, y, norm="L2", rng=rng(N), ceiling=np.full(N, np.inf), steps=100
    )
    assert np.allclose(distance(np, attempt.x_adv, model.x, "L2"), model.nearest("L2"), rtol=0.02)


def test_the_verifier_counts_a_point_where_any_decision_is_another_and_no_tie():
    weights = np.eye(2, dtype=np.float32)
    upload = read_upload(text("f (float[N,2] x) => (float[N,2] y) { y = MatMul(x, W) }", W=weights), multilabel=True)
    verifier = Verifier(upload, domain=None)
    judged = {
        point: verifier.check(np.array(point, np.float32), 1)
        for point in [(1, -1), (1, 1), (-1, -1), (1, 0), (0, -1)]
    }
    assert [verdict.counts for verdict in judged.values()] == [False, True, True, False, False]
    assert [verdict.predicted for verdict in judged.values()] == [1, 3, 0, 1, 0]
    assert judged[1, 1].confidence == pytest.approx((1 / (1 + np.exp(-1))) ** 2)
    assert not verifier.check(np.array([np.nan, 1], np.float32), 1).counts


def test_a_row_does_not_depend_on_the_batch():
    model = Affine(10)
    found = []
    for batch in (2, 3, N):
        seen, y = shown(model.classifier(batch), model.y, model.upload.reading)
        found.append(seen.gradient(model.x, y, Loss.CROSS_ENTROPY))
    for other in found[1:]:
        assert np.allclose(other.g, found[0].g, rtol=1e-5, atol=1e-7)


def test_exclusive_classes_are_shown_as_they_are():
    model = Affine(3)
    classifier = model.classifier()
    assert shown(classifier, model.y, Reading()) == (classifier, model.y)
