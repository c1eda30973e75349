"""Attacks on models that may refuse: affine ones, where the nearest point that evades the refusal too is known exactly."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.attacks.attempt import margin
from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.evading import Evading
from auditor.attacks.norms import distance
from auditor.attacks.shown import shown
from auditor.attacks.verify import Verifier
from auditor.attacks.votes import DRAWS, Voter
from auditor.classifier import OnnxClassifier
from auditor.graph.plain import make_plain
from auditor.graph.reading import Reading
from auditor.graph.upload import read_upload
from auditor.spec import Detector, Loss
from tests.graph.models import text
from tests.zoo import Affine, least

FEATURES, CLASSES, N = 12, 4, 4
LIMIT = np.log(0.6 / 0.4)  # what the Sigmoid takes to its threshold
_RNG = np.random.default_rng(0)
W = _RNG.standard_normal((FEATURES, CLASSES)).astype(np.float32)
V = _RNG.standard_normal((FEATURES, 1)).astype(np.float32)
BODY = (
    f"f (float[N,{FEATURES}] x) => (float[N,{CLASSES}] y, float[N,1] r) "
    "{ y = MatMul(x, W) q = MatMul(x, V) r = Sigmoid(q) }"
)


@pytest.fixture(scope="module")
def upload():
    return read_upload(text(BODY, W=W, V=V), output="y", detector=Detector(output="r", threshold=0.6))


@pytest.fixture(scope="module")
def accepted():
    """Examples that are not rejected, and their classes."""
    x = np.random.default_rng(1).standard_normal((60, FEATURES)).astype(np.float32)
    x = x[(x @ V)[:, 0] < LIMIT - 0.3][:N]
    return x, (x @ W).argmax(axis=1)


@pytest.fixture(scope="module")
def seen(upload, accepted):
    graph = replace(make_plain(upload, batch=N), reading=upload.reading)
    return Evading(OnnxClassifier(graph, domain=None), accepted[1], upload.refused)


def evaded(x_adv, y):
    return ((x_adv @ W).argmax(axis=1) != y) & ((x_adv @ V)[:, 0] <= LIMIT)


def exact(x, y, norm):
    """(n,): how far it is to another class' side and below the threshold, both at once."""
    nearest = []
    for row, label in zip(x.astype(np.float64), y, strict=True):
        z, above = row @ W, float(row @ V[:, 0]) - LIMIT
        ways = [
            least(
                np.stack([W[:, k] - W[:, label], -V[:, 0]]).astype(np.float64),
                np.array([z[label] - z[k], above]),
                norm,
            )
            for k in set(range(CLASSES)) - {int(label)}
        ]
        nearest.append(min(ways))
    return np.array(nearest)


def cases(budget):
    return [
        (name, norm)
        for name, entry in CATALOGUE.items()
        for norm in ("Linf", "L2")
        if entry.budget == budget and norm in entry.norms and entry.access not in ("transfer", "structure")
    ]


@pytest.mark.parametrize(("name", "norm"), cases("minimal"))
def test_a_minimal_norm_attack_comes_near_the_nearest_point_that_evades(name, norm, seen, accepted, rng):
    x, y = accepted
    options = {"norm": norm, "rng": rng(N)}
    if CATALOGUE[name].access == "decision":  # a point far inside another class and far from being rejected
        away = [W[:, (k + 1) % CLASSES] - W.mean(axis=1) - V[:, 0] for k in y]
        options |= {"start": x + 10 * np.stack(away).astype(np.float32)}
        options |= {} if name == "hop-skip-jump" else {"queries": 600}
    attempt = CATALOGUE[name].function(seen, x, seen.y, ceiling=np.full(N, np.inf), **options)
    assert attempt.found.all()
    assert evaded(attempt.x_adv, y).all()
    ratio = distance(np, attempt.x_adv, x, norm) / exact(x, y, norm)
    assert ratio.min() >= 1 - 1e-6
    assert np.median(ratio) <= 1.1


@pytest.mark.parametrize("name", ["apgd", "pgd", "square", "fgsm"])
def test_a_fixed_budget_attack_finds_only_what_evades(name, seen, accepted, rng):
    x, y = accepted
    nearest = exact(x, y, "Linf")
    for eps, expected in ((0.95 * nearest, np.zeros(N, bool)), (1.6 * nearest, np.ones(N, bool))):
        options = {"queries": 300} if name == "square" else {}
        attempt = CATALOGUE[name].function(seen, x, seen.y, eps=eps, norm="Linf", rng=rng(N), **options)
        assert not (attempt.found & ~evaded(attempt.x_adv, y)).any()
        assert np.array_equal(attempt.found, expected) or (name == "fgsm" and not attempt.found[~expected].any())


def test_a_class_to_abstain_by_is_no_way_out(rng):
    """Without the wrapper the nearest class is the refusal."""
    weights = np.array([[1, 0, 0.9], [0, 1, 0.9], [0, 0, 0]], np.float32).T
    data = text("f (float[N,3] x) => (float[N,3] y) { y = MatMul(x, W) }", W=weights.T.copy())
    upload = read_upload(data, abstain=2)
    x, y = np.array([[2, 1, 0]], np.float32), np.array([0])
    graph = make_plain(upload, batch=1)
    blind = OnnxClassifier(graph, domain=None)
    seeing, label = shown(OnnxClassifier(replace(graph, reading=upload.reading), domain=None), y, upload.reading)
    assert seeing.classes == 2
    there = {}
    for name, (classifier, own) in {"blind": (blind, y), "seeing": (seeing, label)}.items():
        attempt = CATALOGUE["fab"].function(classifier, x, own, ceiling=np.full(1, np.inf), norm="L2", rng=rng(1))
        there[name] = upload.scored(attempt.x_adv @ weights.T).argmax()
    assert there == {"blind": 2, "seeing": 1}


def test_the_losses_are_those_of_the_scores_that_are_shown(upload, seen, accepted):
    x, _ = accepted
    found = seen.gradient(x, seen.y, Loss.MARGIN)
    assert np.allclose(found.loss, margin(np, found.logits, seen.y), atol=1e-5)
    raw = OnnxClassifier(make_plain(upload, batch=N), domain=None).logits(x)
    assert np.array_equal(found.logits, seen.seen(raw))
    step = 1e-2
    g = found.g / np.linalg.norm(found.g, axis=1, keepdims=True)
    upper, lower = (seen.gradient(x + sign * step * g, seen.y, Loss.MARGIN).loss for sign in (1, -1))
    assert np.allclose((upper - lower) / (2 * step), np.linalg.norm(found.g, axis=1), rtol=1e-2)


def test_classes_are_numbered_without_the_refused_ones():
    classifier, y = Affine((6,), 5), np.array([0, 2, 4])
    seen, labels = shown(classifier, y, Reading((1, 3)))
    assert seen.classes == 3
    assert np.array_equal(labels, [0, 1, 2])
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    assert np.array_equal(np.sign(margin(np, seen.logits(x), labels)), np.sign(_margin(classifier.logits(x), y)))


def _margin(z, y):
    refusal = z[:, [1, 3]].max(axis=1)
    own = np.maximum(z[np.arange(3), y], refusal)
    others = np.where(np.isin(np.arange(5), [1, 3]) | (np.arange(5) == y[:, None]), -np.inf, z)
    return others.max(axis=1) - own


def test_a_surrogate_that_does_not_refuse_is_followed_as_it_is():
    classifier, y = Affine((6,), 3), np.array([0])
    assert shown(classifier, y, Reading((3,))) == (classifier, y)
    assert shown(classifier, y, Reading()) == (classifier, y)


@pytest.mark.parametrize(
    ("x", "counts", "predicted"),
    [([3, 1, 0], False, 0), ([1, 3, 0], True, 1), ([1, 3, 2], False, 2), ([1, 3, 0.5], False, 1)],
)
@pytest.mark.parametrize("judge", [Verifier, Voter])
def test_only_another_class_that_is_not_rejected_counts(judge, x, counts, predicted):
    body = "f (float[N,3] x) => (float[N,2] y, float[N,1] r) { y = Slice(x, zero, two, one) r = Slice(x, two, three, one) }"
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3}
    data = text(body, **{name: np.array([number]) for name, number in numbers.items()})
    upload = read_upload(data, output="y", detector=Detector(output="r"))
    verdict = judge(upload, domain=None).check(np.array(x, np.float32), 0)
    assert verdict.counts == counts
    if judge is Verifier:
        assert verdict.predicted == predicted
    assert judge(upload, domain=None).check(np.array(x, np.float32), 0, 1).counts == (counts and x[1] > x[0])


def test_draws_that_are_rejected_speak_for_the_label():
    body = (
        "f (float[N,1] x) => (float[N,2] y, float[N,1] r) "
        "{ z = Sub(x, x) y = Concat<axis=1>(z, x) r = RandomUniformLike<low=0.0, high=1.0>(x) }"
    )
    detector = Detector(output="r", threshold=0.5)
    upload = read_upload(text(body), output="y", detector=detector)
    voter = Voter(upload, domain=None)
    shares = voter.scores(np.ones(1, np.float32))
    assert shares[0] == 0
    assert 0.2 < shares[2] < 0.8
    assert not voter.check(np.ones(1, np.float32), 0).counts
    assert (shares * DRAWS == np.round(shares * DRAWS)).all()
