"""Attacks that change few features, on classifiers whose fewest are known."""

import numpy as np
import pytest

from auditor.attacks.attempt import clearance
from auditor.attacks.fmn import fmn
from auditor.attacks.norms import Ball, distance
from auditor.attacks.pointwise import pointwise
from auditor.attacks.random import Random
from auditor.attacks.sigma_zero import sigma_zero
from auditor.attacks.targeted import Targeted
from tests.zoo import Affine, Decided, Masked, Undefined


def _clean(classifier, n):
    x = np.random.default_rng(0).random((n, *classifier.shape), dtype=np.float32)
    return x, classifier.logits(x).argmax(axis=1)


def _fmn(*args, **kwargs):
    return fmn(*args, norm="L0", **kwargs)


ATTACKS = {"sigma-zero": sigma_zero, "fmn": _fmn}


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("shape", [(60,), (3, 5, 4)])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_fewest_features_to_the_only_other_class_are_found(name, shape, n):
    classifier = Affine(shape, 2, seed=4, domain=(0.0, 1.0))
    classifier.b *= 5
    x, y = _clean(classifier, n)
    fewest = classifier.fewest(x, y)
    attempt = ATTACKS[name](classifier, x, y, ceiling=np.full(n, np.inf))
    assert attempt.found.all()
    found = distance(np, attempt.x_adv, x, "L0")
    assert np.all(found >= fewest)
    assert np.all(found <= 1.25 * fewest + 0.5)
    assert np.max(fewest) > 3


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_many_classes_are_broken_by_few_features(classes):
    classifier = Affine((60,), classes, domain=(-1.0, 3.0))
    x, y = _clean(classifier, 8)
    fewest = classifier.fewest(x, y, clearance=clearance(np, classifier.logits(x)))
    attempt = sigma_zero(classifier, x, y, ceiling=np.full(8, np.inf))
    assert attempt.found.all()
    assert np.all(distance(np, attempt.x_adv, x, "L0") <= 2 * fewest + 1)


def test_without_a_domain_one_feature_is_enough():
    classifier = Affine((3, 4), 2)
    x, y = _clean(classifier, 4)
    attempt = sigma_zero(classifier, x, y, ceiling=np.full(4, np.inf))
    assert distance(np, attempt.x_adv, x, "L0").tolist() == [1] * 4


def test_a_target_is_what_it_goes_to():
    classifier = Affine((60,), 5, domain=(0.0, 1.0))
    x, y = _clean(classifier, 6)
    target = np.argmin(classifier.logits(x), axis=1)
    with_it, without = (
        classifier.logits(sigma_zero(seen, x, y, ceiling=np.full(6, np.inf)).x_adv)
        for seen in (Targeted(classifier, y, target), classifier)
    )
    rows = np.arange(6)
    assert np.all(with_it[rows, target] - with_it[rows, y] > without[rows, target] - without[rows, y])


@pytest.mark.parametrize("name", ATTACKS)
def test_only_points_with_fewer_features_than_the_ceiling_are_given(name):
    classifier = Affine((60,), 2, seed=4, domain=(0.0, 1.0))
    x, y = _clean(classifier, 4)
    ceiling = classifier.fewest(x, y) * np.array([1, 1, 4, 4])
    attempt = ATTACKS[name](classifier, x, y, ceiling=ceiling)
    assert attempt.found.tolist() == [False, False, True, True]
    assert np.all(distance(np, attempt.x_adv, x, "L0") < ceiling)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name):
    classifier = Affine((3, 4, 4), 4, domain=(0.0, 1.0))
    x, y = _clean(classifier, 8)
    together = ATTACKS[name](classifier, x, y, ceiling=np.full(8, np.inf))
    order = np.array([5, 2, 7])
    rng = Random.keyed(np, 0, "test", order)
    apart = ATTACKS[name](classifier, x[order], y[order], ceiling=np.full(3, np.inf), rng=rng)
    assert np.array_equal(apart.x_adv, together.x_adv[order])
    assert np.array_equal(apart.found, together.found[order])


@pytest.mark.parametrize("name", ATTACKS)
def test_rows_that_are_not_active_cost_nothing_and_are_left_alone(name):
    classifier = Affine((60,), 2, domain=(0.0, 1.0))
    x, y = _clean(classifier, 4)
    active = np.arange(4) % 2 == 0
    before = classifier.forwards
    attempt = ATTACKS[name](classifier, x, y, ceiling=np.full(4, np.inf), active=active, steps=50)
    assert attempt.found.tolist() == active.tolist()
    assert classifier.forwards - before == 2 * 51


@pytest.mark.parametrize("broken", [Masked((5,), 3), Undefined((5,), 3, edge=-np.inf)])
@pytest.mark.parametrize("name", ATTACKS)
def test_no_gradient_or_no_score_gives_no_find_and_no_point_that_is_not_finite(broken, name):
    x = np.full((3, 5), 0.01, np.float32)
    y = np.nan_to_num(Affine((5,), 3).scores(x)).argmax(axis=1)
    attempt = ATTACKS[name](broken, x, y, ceiling=np.full(3, 5.0))
    assert not attempt.found.any()
    assert np.isfinite(attempt.x_adv).all()


def test_an_l0_ball_keeps_the_largest_changes():
    x = np.zeros((3, 4), np.float32)
    wanted = np.array([[1, -3, 2, 0]] * 3, np.float32)
    point = Ball(np, x, np.array([0.0, 1.5, 2.0]), "L0", (-1.0, 5.0)).project(wanted)
    assert point.tolist() == [[0, 0, 0, 0], [0, 0, 2, 0], [1, 0, 2, 0]]


@pytest.mark.parametrize(
    ("shape", "classes", "n"),
    [((60,), 2, 1), ((3, 5, 4), 2, 3), ((60,), 3, 4), ((60,), 10, 4), ((5, 4, 3), 100, 3)],
)
def test_pointwise_comes_near_the_fewest_features_by_decisions_alone(shape, classes, n, rng):
    scored, decided = (kind(shape, classes, seed=4, domain=(0.0, 1.0)) for kind in (Affine, Decided))
    lead = 8 if classes == 2 else 20  # no more than random points can make up for
    scored.b[0] += lead
    decided.b[0] += lead
    x, y = _clean(scored, n)
    attempt = pointwise(decided, x, y, ceiling=np.full(n, np.inf), rng=rng(n), queries=1500)
    assert decided.forwards <= 1500 * n
    assert attempt.found.all()
    assert (scored.logits(attempt.x_adv).argmax(axis=1) != y).all()
    found, fewest = distance(np, attempt.x_adv, x, "L0"), scored.fewest(x, y)
    assert np.max(fewest) > 2
    assert np.all(found >= fewest)
    assert np.all(found <= 1 + np.ceil(1.25 * fewest))


def test_pointwise_gives_a_set_of_which_no_feature_can_be_spared(rng):
    classifier = Decided((40,), 3, seed=4, domain=(0.0, 1.0))
    classifier.b[0] += 8
    x, y = _clean(classifier, 6)
    x_adv = pointwise(classifier, x, y, ceiling=np.full(6, np.inf), rng=rng(6), queries=400).x_adv
    assert (x_adv != x).any(axis=1).sum() >= 4
    for row, feature in np.argwhere(x_adv != x):
        spared = x_adv[row : row + 1].copy()
        spared[0, feature] = x[row, feature]
        assert classifier.logits(spared).argmax() == y[row]


def test_pointwise_begins_at_a_start_and_gives_only_fewer_features_than_the_ceiling(rng):
    classifier = Decided((3, 100), 2, seed=4, domain=(0.0, 1.0))
    classifier.b[0] += 20
    x, y = _clean(classifier, 4)
    start = np.where(classifier.W[1 - y] > classifier.W[y], np.float32(1), np.float32(0)).reshape(x.shape)
    fewest = classifier.fewest(x, y)
    options = {"rng": rng(4), "start": start, "queries": 300, "active": np.arange(4) < 3}
    attempt = pointwise(classifier, x, y, ceiling=np.array([fewest[0], 1.0, 300.0, 300.0]), **options)
    assert classifier.forwards <= 4 + 3 * 300
    assert attempt.found.tolist() == [False, False, True, False]
    changed = attempt.x_adv[2] != x[2]
    assert 0 < changed.sum() < 100
    assert np.array_equal(attempt.x_adv[[0, 1, 3]], x[[0, 1, 3]])


def test_pointwise_reaches_a_target(rng):
    classifier = Affine((60,), 5, seed=4, domain=(0.0, 1.0))
    x, y = _clean(classifier, 6)
    target = np.argsort(classifier.logits(x), axis=1)[:, -2]
    attempt = pointwise(Targeted(classifier, y, target), x, y, ceiling=np.full(6, np.inf), rng=rng(6))
    assert attempt.found.any()
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1)[attempt.found], target[attempt.found])
