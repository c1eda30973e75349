"""Feature search on classifiers whose exact answer is known."""

import numpy as np
import pytest

from auditor.attacks.feature_search import feature_search
from auditor.attacks.norms import distance
from tests.zoo import Affine, Masked

EPS = {"Linf": 0.3, "L2": 0.8, "L1": 0.8, "L0": 3.0}


def searched(classifier, rng, norm, n=20, **given):
    x = np.random.default_rng(1).random((n, *classifier.shape), dtype=np.float32)
    y = classifier.scores(x.reshape(n, -1)).argmax(axis=1)
    attempt = feature_search(classifier, x, y, eps=np.full(n, EPS[norm]), norm=norm, rng=rng(n), **given)
    return x, y, attempt


@pytest.mark.parametrize("norm", EPS)
def test_it_stays_within_eps_the_domain_and_its_queries_and_asks_for_no_gradient(norm, rng):
    classifier = Masked((6,), 3, domain=(0.0, 1.0))
    x, y, attempt = searched(classifier, rng, norm, queries=30)
    assert classifier.backwards == 0
    assert classifier.forwards <= 20 * 30
    assert (distance(np, attempt.x_adv, x, norm) <= EPS[norm]).all()
    assert attempt.found.any()
    scores = classifier.scores(attempt.x_adv)
    assert (scores[attempt.found].argmax(axis=1) != y[attempt.found]).all()


@pytest.mark.parametrize("norm", ["Linf", "L1"])
def test_in_linf_and_l1_it_breaks_what_an_affine_model_allows(norm, rng):
    """There the best point moves every feature by eps, or one feature by all of it."""
    classifier = Affine((6,), 3)
    x, y, attempt = searched(classifier, rng, norm, n=60, queries=400)
    nearest = classifier.exact(x, y, norm)
    sure = np.abs(nearest / EPS[norm] - 1) > 0.01
    assert np.array_equal(attempt.found[sure], (nearest < EPS[norm])[sure])
    assert attempt.found.any()
    assert not attempt.found.all()


def test_it_goes_on_from_a_given_point(rng):
    classifier = Affine((6,), 3)
    *_, found = searched(classifier, rng, "L2", queries=400)
    before = classifier.forwards
    *_, again = searched(classifier, rng, "L2", queries=400, start=found.x_adv)
    assert again.found[found.found].all()
    assert classifier.forwards - before < before


def test_a_row_does_not_depend_on_its_neighbours(rng):
    classifier = Affine((6,), 3)
    *_, whole = searched(classifier, rng, "L2", n=8, queries=50)
    *_, part = searched(classifier, rng, "L2", n=3, queries=50)
    assert np.array_equal(whole.x_adv[:3], part.x_adv)
