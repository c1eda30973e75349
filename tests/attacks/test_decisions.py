"""Attacks that see only decisions, on classifiers whose exact distance is known."""

import numpy as np
import pytest
from scipy.fft import dctn

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.norms import distance
from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.attacks.targeted import Targeted
from auditor.attacks.waves import Waves
from tests.zoo import Affine, Cross, Decided, Undefined

CASES = [(name, norm) for name, entry in CATALOGUE.items() if entry.access == "decision" for norm in entry.norms]
CONVEX = [case for case in CASES if case[1] != "L0"]  # whose exact distance is known without a domain
# How far above the exact distance 1,500 queries may end: the worst of eight examples, measured and rounded up.
WORST = {("hop-skip-jump", "L1"): 2.0}


def attack(name, classifier, x, y, *, norm, rng, ceiling=None, queries=1500, **named):
    ceiling = np.full(len(x), np.inf) if ceiling is None else ceiling
    function = CATALOGUE[name].function
    return function(classifier, x, y, norm=norm, rng=rng, ceiling=ceiling, queries=queries, **named)


def clean(classifier, n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, *classifier.shape)).astype(np.float32)
    return x, classifier.logits(x).argmax(axis=1)


@pytest.mark.parametrize(("shape", "classes", "n"), [((7,), 2, 8), ((2, 3, 4), 2, 3), ((4, 3), 3, 1), ((6,), 10, 8)])
@pytest.mark.parametrize(("name", "norm"), CONVEX)
def test_the_distance_to_the_boundary_is_nearly_exact(name, norm, shape, classes, n, rng):
    classifier = Decided(shape, classes)
    exact = Affine(shape, classes).exact
    x, y = clean(classifier, n)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(n))
    assert classifier.forwards <= n * (1 + 1500)
    assert attempt.found.all()
    assert (classifier.logits(attempt.x_adv).argmax(axis=1) != y).all()
    ratio = distance(np, attempt.x_adv, x, norm) / exact(x, y, norm)
    assert ratio.min() >= 1 - 1e-6
    assert np.median(ratio) <= WORST.get((name, norm), 1.3)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_hundred_classes_are_told_apart(name, norm, rng):
    classifier = Decided((2, 4, 4), 100)
    x, y = clean(classifier, 3)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(3), queries=300)
    assert attempt.found.all()
    assert (classifier.logits(attempt.x_adv).argmax(axis=1) != y).all()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_only_the_largest_score_is_looked_at(name, norm, rng):
    found = []
    for kind in (Affine, Decided):
        classifier = kind((2, 3, 3), 4, domain=(-9.0, 9.0))
        x, y = clean(classifier, 4)
        found.append(attack(name, classifier, x, y, norm=norm, rng=rng(4), queries=200))
    assert np.array_equal(found[0].x_adv, found[1].x_adv)


@pytest.mark.parametrize("shape", [(3, 40, 36), (40, 36, 3)], ids=["NCHW", "NHWC"])
def test_surfree_draws_from_the_low_frequencies_of_either_layout(shape, rng):
    layout = "NCHW" if shape[0] == 3 else "NHWC"
    noise = Waves(Planes(np, shape, layout), 0.25).noise(rng(4), 0)
    planes = noise if layout == "NCHW" else noise.transpose(0, 3, 1, 2)
    waves = dctn(planes, axes=(2, 3), norm="ortho")
    assert noise.shape == (4, *shape)
    assert np.abs(waves[:, :, 10:]).max() < 1e-4
    assert np.abs(waves[:, :, :, 9:]).max() < 1e-4
    assert np.abs(waves[:, :, :10, :9]).max(axis=(0, 1)).min() > 1e-4


@pytest.mark.parametrize(("name", "norm"), CONVEX)
def test_a_target_is_reached(name, norm, rng):
    classifier = Affine((6,), 3)
    x, y = clean(classifier, 6)
    target = (y + 1) % 3
    attempt = attack(name, Targeted(classifier, y, target), x, y, norm=norm, rng=rng(6), queries=600)
    assert attempt.found.all()
    assert np.array_equal(classifier.logits(attempt.x_adv).argmax(axis=1), target)
    assert (distance(np, attempt.x_adv, x, norm) >= classifier.exact(x, y, norm) * (1 - 1e-6)).all()


@pytest.mark.parametrize(("name", "norm"), CONVEX)
def test_a_boundary_with_a_kink_is_found(name, norm, rng):
    classifier = Cross(6)
    x = np.random.default_rng(2).uniform(-0.9, 0.9, (8, 6)).astype(np.float32)
    rows, top = np.arange(8), np.abs(x).argmax(axis=1)
    start = x.copy()
    start[rows, top] = 3 * np.sign(x[rows, top])
    start += np.random.default_rng(3).uniform(-0.5, 0.5, (8, 6)).astype(np.float32)
    attempt = attack(name, classifier, x, np.zeros(8, np.int64), norm=norm, rng=rng(8), start=start)
    assert attempt.found.all()
    ratio = distance(np, attempt.x_adv, x, norm) / classifier.exact(x)
    assert ratio.min() >= 1 - 1e-3
    assert np.median(ratio) <= WORST.get((name, norm), 1.3)


@pytest.mark.parametrize(("name", "norm"), CONVEX)
def test_a_start_is_taken_up_and_only_nearer_points_are_given(name, norm, rng):
    classifier = Affine((6,), 2)
    x, y = clean(classifier, 4)
    step = (classifier.W[1 - y] - classifier.W[y]).astype(np.float64)
    gap = classifier.exact(x, y, "L2") / np.linalg.norm(step, axis=1)
    start = (x + 1.5 * gap[:, None] * step).astype(np.float32)
    ceiling = distance(np, start, x, norm)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(4), start=start, ceiling=ceiling, queries=40)
    apart = distance(np, attempt.x_adv, x, norm)
    assert attempt.found.all()
    assert (apart < ceiling).all()
    refused = attack(name, classifier, x, y, norm=norm, rng=rng(4), ceiling=0.99 * classifier.exact(x, y, norm))
    assert not refused.found.any()
    assert np.array_equal(refused.x_adv, x)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_points_stay_inside_the_domain(name, norm, rng):
    classifier = Affine((3, 6), 3, domain=(0.0, 1.0))
    x = np.random.default_rng(1).integers(0, 2, (5, 3, 6)).astype(np.float32)
    y = classifier.logits(x).argmax(axis=1)
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(5), queries=300)
    assert attempt.found.any()
    assert attempt.x_adv.min() >= 0
    assert attempt.x_adv.max() <= 1


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, norm, rng):
    classifier = Affine((3, 4, 4), 4, domain=(-9.0, 9.0))
    x, y = clean(classifier, 8)
    together = attack(name, classifier, x, y, norm=norm, rng=rng(8), queries=150)
    order = np.array([5, 2, 7])
    apart = attack(
        name, classifier, x[order], y[order], norm=norm, rng=Random.keyed(np, 0, "test", order), queries=150
    )
    assert np.array_equal(apart.x_adv, together.x_adv[order])
    assert np.array_equal(apart.found, together.found[order])


@pytest.mark.parametrize(("name", "norm"), CONVEX)
def test_rows_that_are_not_active_cost_nothing_and_none_costs_more_than_allowed(name, norm, rng):
    classifier = Affine((6,), 4)
    x, y = clean(classifier, 6)
    active = np.arange(6) % 2 == 0
    counted = np.zeros(6, np.int64)

    def logits(x, *, active, own=classifier.logits):
        counted[active] += 1
        return own(x, active=active)

    classifier.logits = logits
    attempt = attack(name, classifier, x, y, norm=norm, rng=rng(6), active=active, queries=77)
    assert attempt.found.tolist() == active.tolist()
    assert counted[active].max() <= 77
    assert counted[active].min() >= 70
    assert not counted[~active].any()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_where_nothing_else_is_ever_decided_nothing_is_found(name, norm, rng):
    classifier = Decided((5,), 3)
    classifier.W[:] = 0
    x, y = clean(classifier, 3)
    assert not attack(name, classifier, x, y, norm=norm, rng=rng(3), queries=200).found.any()
    undefined = Undefined((5,), 3, edge=-np.inf)
    assert not attack(name, undefined, x, y, norm=norm, rng=rng(3), queries=200).found.any()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_an_example_that_is_wrong_when_clean_costs_one_query(name, norm, rng):
    classifier = Affine((6,), 3)
    x, y = clean(classifier, 2)
    before = classifier.forwards
    attempt = attack(name, classifier, x, (y + 1) % 3, norm=norm, rng=rng(2))
    assert attempt.found.all()
    assert np.array_equal(attempt.x_adv, x)
    assert classifier.forwards - before == 2
