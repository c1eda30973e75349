"""Attacks that see only scores and are given an eps, on classifiers whose exact distance is known."""

import numpy as np
import pytest

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.norms import distance
from auditor.attacks.random import Random
from tests.zoo import Affine, Cross, Masked, Undefined

CASES = [
    (name, norm)
    for name, entry in CATALOGUE.items()
    if entry.access == "score"
    for norm in entry.norms
    if norm != "L0"  # see test_few_features
]
# Multiples of the exact distance at which an attack must succeed: a perturbation of equal size everywhere is longer
# than the shortest. Square's patches are wider than these few features; tests of fixed budgets ask how far it comes. Noise
# goes nowhere in particular.
REACH = {("sign-hunter", "L2"): 2.0}


def attack(name, classifier, x, y, *, norm, rng, eps, queries=600, **named):
    return CATALOGUE[name].function(classifier, x, y, norm=norm, rng=rng, eps=eps, queries=queries, **named)


def clean(classifier, n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, *classifier.shape)).astype(np.float32)
    return x, classifier.logits(x).argmax(axis=1)


@pytest.mark.parametrize(
    ("shape", "classes", "n"), [((7,), 2, 8), ((2, 3, 4), 2, 3), ((4, 3), 3, 1), ((6,), 10, 8), ((2, 3, 3), 100, 3)]
)
@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[0] not in ("square", "noise")])
def test_what_lies_beyond_the_exact_distance_is_found_without_gradients(name, norm, shape, classes, n, rng):
    classifier = Masked(shape, classes)
    x, y = clean(classifier, n)
    exact = classifier.exact(x, y, norm)
    eps = REACH.get((name, norm), 4 / 3) * exact
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(n), eps=eps)
    assert attempt.found.mean() > 0.8
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1) != y, attempt.found)
    assert (distance(np, attempt.x_adv, x, norm) <= eps).all()
    assert classifier.backwards == 0
    below = attack(name, classifier, x, y, norm=norm, rng=rng(n), eps=0.99 * exact, queries=100)
    assert not below.found.any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_noise_finds_what_fills_a_large_share_of_the_ball(norm, rng):
    classifier = Masked((2,), 2)
    x, y = clean(classifier, 8)
    eps = 4 * classifier.exact(x, y, norm)
    assert attack("noise", classifier, x, y, norm=norm, rng=rng(8), eps=eps, queries=100).found.all()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_boundary_with_a_kink_is_crossed(name, norm, rng):
    classifier = Cross(6)
    x = np.random.default_rng(2).uniform(-0.3, 0.3, (8, 6)).astype(np.float32)
    x[:, 2] = 0.8
    eps = (2.7 if norm == "L2" else 1.5) * classifier.exact(x)
    attempt = attack(name, classifier, x, np.zeros(8, np.int64), norm=norm, rng=rng(8), eps=eps)
    assert attempt.found.mean() > 0.8


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_points_stay_inside_the_domain(name, norm, rng):
    classifier = Affine((3, 6), 3, domain=(0.0, 1.0))
    x = np.random.default_rng(1).integers(0, 2, (5, 3, 6)).astype(np.float32)
    y = classifier.logits(x).argmax(axis=1)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(5), eps=np.full(5, 0.3))
    assert attempt.x_adv.min() >= 0
    assert attempt.x_adv.max() <= 1


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, norm, rng):
    classifier = Affine((3, 4, 4), 4, domain=(-9.0, 9.0))
    x, y = clean(classifier, 8)
    eps = 1.2 * classifier.exact(x, y, norm)
    together = attack(name, classifier, x, y, norm=norm, rng=rng(8), eps=eps, queries=100)
    order = np.array([5, 2, 7])
    alone = Random.keyed(np, 0, "test", order)
    apart = attack(name, classifier, x[order], y[order], norm=norm, rng=alone, eps=eps[order], queries=100)
    for one, other in zip(vars(apart).values(), vars(together).values(), strict=True):
        assert np.array_equal(one, other[order])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_no_row_costs_more_than_allowed_and_a_broken_one_nothing_more(name, norm, rng):
    classifier = Affine((6,), 4)
    x, y = clean(classifier, 6)
    counted = np.zeros(6, np.int64)

    def logits(x, *, active, own=classifier.logits):
        counted[active] += 1
        return own(x, active=active)

    classifier.logits = logits
    active, exact = np.arange(6) != 1, classifier.exact(x, y, norm)
    eps = exact * np.where(np.arange(6) < 3, 0.5, 100)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(6), active=active, eps=eps, queries=103)
    assert attempt.found.tolist() == [False, False, False, True, True, True]
    least = 1 if name == "feature-search" else 76  # which gives up once no feature gains at any share
    assert least <= counted[[0, 2]].min() <= counted.max() <= 103
    assert counted[3:].max() < 103
    assert counted[1] == 0
    assert np.array_equal(attempt.x_adv[:3], x[:3])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_scores_that_are_not_finite_never_count(name, norm, rng):
    x, y = np.zeros((3, 5), np.float32), np.zeros(3, np.int64)
    nowhere = Undefined((5,), 3, edge=-np.inf)
    attempt = attack(name, nowhere, x, y, norm=norm, rng=rng(3), eps=np.full(3, 1.0))
    assert not attempt.found.any()
    assert np.isfinite(attempt.x_adv).all()
