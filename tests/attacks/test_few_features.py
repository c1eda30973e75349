"""Attacks that are given a number of features, on classifiers whose fewest are known."""

import numpy as np
import pytest

from auditor.attacks.attempt import clearance
from auditor.attacks.norms import distance
from auditor.attacks.random import Random
from auditor.attacks.sparse_pgd import sparse_pgd
from auditor.attacks.sparse_rs import exchanged, sparse_rs, subset
from auditor.spec import Loss
from tests.zoo import Affine, Masked, Undefined

ATTACKS = {"sparse-rs": sparse_rs, "sparse-pgd": sparse_pgd}
COST = {"sparse-rs": {"queries": 1500}, "sparse-pgd": {"steps": 200}}


def clean(classifier, n, lead=0.0):
    """Examples, and the class that leads in each, after class 0 has got a lead in all."""
    x = np.random.default_rng(0).random((n, *classifier.shape), dtype=np.float32)
    classifier.b[0] += lead
    return x, classifier.logits(x).argmax(axis=1)


def attack(name, classifier, x, y, *, eps, rng, **named):
    return ATTACKS[name](classifier, x, y, eps=eps, rng=rng, **COST[name] | named)


@pytest.mark.parametrize(
    ("shape", "classes", "n"),
    [((60,), 2, 1), ((60,), 2, 8), ((3, 5, 4), 2, 3), ((60,), 3, 4), ((60,), 10, 4), ((5, 4, 3), 100, 3)],
)
@pytest.mark.parametrize("name", ATTACKS)
def test_few_more_features_than_the_fewest_are_enough_and_fewer_never(name, shape, classes, n, rng):
    classifier = Affine(shape, classes, seed=4, domain=(0.0, 1.0))
    x, y = clean(classifier, n, lead=20)
    fewest = classifier.fewest(x, y)
    assert np.max(fewest) > 2
    enough = 1 + np.ceil(1.25 * classifier.fewest(x, y, clearance=clearance(np, classifier.logits(x))))
    attempt = attack(name, classifier, x, y, eps=enough, rng=rng(n))
    assert attempt.found.all()
    assert np.all(distance(np, attempt.x_adv, x, "L0") <= enough)
    assert (classifier.logits(attempt.x_adv).argmax(axis=1) != y).all()
    assert not attack(name, classifier, x, y, eps=fewest - 1, rng=rng(n)).found.any()


@pytest.mark.parametrize("name", ATTACKS)
def test_points_stay_inside_the_domain_and_the_number_whatever_it_is(name, rng):
    classifier = Affine((12,), 3, domain=(-1.0, 3.0))
    classifier.W *= 1e-3
    x, y = clean(classifier, 6)
    eps = np.array([0, 0.5, 1.5, 11.0, 12.0, np.inf])
    shown = []
    own = classifier.logits
    classifier.logits = lambda x, *, active=None: shown.append((x, active)) or own(x, active=active)
    attack(name, classifier, x, y, eps=eps, rng=rng(6))
    most = np.max([np.where(active, distance(np, point, x, "L0"), 0) for point, active in shown], axis=0)
    assert np.all(most <= eps)
    assert most[2:].tolist() == [1, 11, 12, 12]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_rows_result_is_the_same_bits_whatever_its_neighbours(name, rng):
    classifier = Affine((3, 4, 4), 4, domain=(0.0, 1.0))
    x, y = clean(classifier, 8)
    eps = np.arange(2.0, 10.0)
    together = attack(name, classifier, x, y, eps=eps, rng=rng(8))
    order = np.array([5, 2, 7])
    alone = Random.keyed(np, 0, "test", order)
    apart = attack(name, classifier, x[order], y[order], eps=eps[order], rng=alone)
    for one, other in zip(vars(apart).values(), vars(together).values(), strict=True):
        assert np.array_equal(one, other[order])


@pytest.mark.parametrize("name", ATTACKS)
def test_no_row_costs_more_than_allowed_and_a_broken_or_inactive_one_nothing(name, rng):
    classifier = Affine((60,), 2, domain=(0.0, 1.0))
    x, y = clean(classifier, 4, lead=9)
    before = classifier.forwards
    active = np.arange(4) < 3
    eps = np.where(np.arange(4) == 0, 1.0, 60.0)
    attempt = attack(name, classifier, x, y, eps=eps, rng=rng(4), active=active)
    assert attempt.found.tolist() == [False, True, True, False]
    (most,) = COST[name].values()
    assert most < classifier.forwards - before < 1.4 * most


@pytest.mark.parametrize("broken", [Undefined((5,), 3, edge=-np.inf), Undefined((5,), 3, edge=0.005)])
@pytest.mark.parametrize("name", ATTACKS)
def test_no_score_gives_no_find_and_no_point_that_is_not_finite(broken, name, rng):
    x = np.full((3, 5), 0.01, np.float32)
    y = np.nan_to_num(Affine((5,), 3).scores(x)).argmax(axis=1)
    attempt = attack(name, broken, x, y, eps=np.full(3, 2.0), rng=rng(3))
    assert np.isfinite(attempt.x_adv).all()
    assert np.isfinite(broken.logits(attempt.x_adv)[attempt.found]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_start_near_success_saves_the_search(name, rng):
    classifier = Affine((400,), 2, seed=4, domain=(0.0, 1.0))
    x, y = clean(classifier, 4, lead=30)
    slope = classifier.W[1 - y] - classifier.W[y]
    fewest = classifier.fewest(x, y, clearance=clearance(np, classifier.logits(x)))
    gain = np.where(slope > 0, slope * (1 - x), -slope * x)
    rank = np.argsort(np.argsort(-gain, axis=1), axis=1)
    start = np.where(rank < fewest[:, None], (slope > 0).astype(np.float32), x)
    options = {"eps": fewest, "rng": rng(4), next(iter(COST[name])): {"sparse-rs": 40, "sparse-pgd": 3}[name]}
    assert attack(name, classifier, x, y, start=start, **options).found.all()
    assert not attack(name, classifier, x, y, start=x, **options).found.any()


def test_sparse_rs_needs_no_gradient_and_no_domain(rng):
    classifier = Masked((3, 4), 3)
    x, y = clean(classifier, 4)
    attempt = sparse_rs(classifier, x, y, eps=np.full(4, 3.0), rng=rng(4), queries=800)
    assert attempt.found.all()
    assert np.all(distance(np, attempt.x_adv, x, "L0") <= 3)
    assert classifier.backwards == 0


def test_sparse_rs_exchanges_fewer_and_fewer():
    size = np.array([1, 10, 200])
    counts = [exchanged(np, size, 0.3, progress).tolist() for progress in (0, 0.004, 0.005, 0.1, 0.99)]
    assert counts == [[1, 1, 30], [1, 1, 30], [1, 1, 15], [1, 1, 7], [1, 1, 3]]


def test_every_subset_is_drawn_as_often_as_any_other():
    n = 40_000
    uniform = Random.keyed(np, 0, "test", np.arange(n)).uniform(0, (3,))
    count, size = np.where(np.arange(n) % 2, 2, 3), np.where(np.arange(n) % 2, 4, 5)
    chosen = subset(np, uniform, count, size)
    for parity, (few, many) in enumerate([(3, 5), (2, 4)]):
        subsets = np.sort(chosen[parity::2, :few], axis=1)
        kinds, often = np.unique(subsets, axis=0, return_counts=True)
        assert len(kinds) == {(3, 5): 10, (2, 4): 6}[few, many]
        assert kinds.min() == 0
        assert kinds.max() == many - 1
        assert np.all(np.diff(kinds, axis=1) > 0)
        assert np.abs(often / often.mean() - 1).max() < 0.1


@pytest.mark.parametrize("projected", [False, True])
def test_sparse_pgd_moves_all_features_or_those_of_the_mask(projected, rng):
    classifier = Affine((30,), 2, domain=(0.0, 1.0))
    x, y = clean(classifier, 3, lead=30)
    shown, own = [], classifier.gradient
    classifier.gradient = lambda x, *rest, **named: shown.append(x) or own(x, *rest, **named)
    sparse_pgd(classifier, x, y, eps=np.full(3, 4.0), rng=rng(3), steps=12, projected=projected)
    ends = [float(np.mean(np.isin(point[point != x], (0, 1)))) for point in shown]
    # After four steps of a quarter every feature that has moved in all of them stands at an end.
    assert ends[0] == 0
    assert (min(ends[5:]) == 1) == (not projected)


def test_sparse_pgd_draws_a_mask_anew_that_stands_still(rng):
    classifier = Masked((30,), 2, domain=(0.0, 1.0))
    classifier.b[0] += 100
    x, y = clean(classifier, 2)
    shown, own = [], classifier.gradient
    classifier.gradient = lambda x, *rest, **named: shown.append(x) or own(x, *rest, **named)
    sparse_pgd(classifier, x, y, eps=np.full(2, 3.0), rng=rng(2), steps=9, patience=3)
    masks = [tuple(np.flatnonzero(point[0] != x[0])) for point in shown]
    assert [len(set(masks[i : i + 3])) for i in (0, 3, 6)] == [1, 1, 1]
    assert len(set(masks)) == 3
    assert {len(mask) for mask in masks} == {3}


@pytest.mark.parametrize("attack", [sparse_pgd])
def test_a_target_is_what_it_goes_to(attack, rng):
    classifier = Affine((60,), 5, domain=(0.0, 1.0))
    x, y = clean(classifier, 6)
    target = np.argmin(classifier.logits(x), axis=1)
    with_it, without = (
        classifier.logits(attack(classifier, x, y, eps=np.full(6, 3.0), rng=rng(6), **aim).x_adv)
        for aim in ({"loss": Loss.DIFFERENCE, "target": target}, {})
    )
    rows = np.arange(6)
    assert np.all(with_it[rows, target] - with_it[rows, y] >= without[rows, target] - without[rows, y])
