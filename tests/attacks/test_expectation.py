"""Randomised models: attacks see means over draws, and fresh draws decide what counts."""

import numpy as np
import pytest

from auditor.attacks.attempt import margin
from auditor.attacks.expectation import Averaged
from auditor.attacks.votes import DRAWS, NEEDED, Voter
from auditor.classifier import Counted
from auditor.graph.upload import read_upload
from auditor.spec import Loss
from tests.graph.models import text
from tests.zoo import Affine

X = np.random.default_rng(0).random((6, 5), dtype=np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


class Noisy(Affine):
    """An affine classifier with normal noise of scale sigma on its scores."""

    def __init__(self, *given, sigma, **named):
        super().__init__(*given, **named)
        self.sigma, self.rng = sigma, np.random.default_rng(1)

    def scores(self, flat):
        clean = super().scores(flat)
        return clean + self.rng.normal(0, self.sigma, clean.shape).astype(np.float32)


def test_every_draw_counts():
    counted = Counted(Affine((5,), 3), len(X))
    active = np.arange(6) < 4
    averaged = Averaged(counted, 7, Y)
    averaged.logits(X, active=active)
    averaged.gradient(X, Y, Loss.MARGIN, active=active)
    assert counted.forwards.tolist() == [14] * 4 + [0] * 2
    assert counted.backwards.tolist() == [7] * 4 + [0] * 2


def test_without_noise_nothing_changes():
    sure = Affine((5,), 3)
    one, mean = sure.gradient(X, Y, Loss.MARGIN), Averaged(sure, 4, Y).gradient(X, Y, Loss.MARGIN)
    for name in ("logits", "loss", "g"):
        np.testing.assert_allclose(getattr(mean, name), getattr(one, name), rtol=1e-5, atol=1e-5)


def test_the_mean_approaches_the_expectation_and_the_own_class_is_ahead_by_the_spread():
    sure, noisy = Affine((5,), 3), Noisy((5,), 3, sigma=0.5)
    expected = margin(np, sure.logits(X), Y)
    seen = margin(np, Averaged(noisy, 4000, Y).logits(X), Y)
    # The largest of two noisy scores lies above the mean, and the own class leads by the margin's standard deviation.
    assert (seen < expected - 0.4).all()
    assert (seen > expected - 1.0).all()


def test_a_draw_that_is_not_finite_is_seen():
    class Broken(Affine):
        def scores(self, flat):
            return np.where(flat[:, :1] > 0.5, np.float32(np.nan), super().scores(flat))

    seen = Averaged(Broken((5,), 3), 3, Y).logits(X)
    assert (np.isnan(seen).any(axis=1) == (X[:, 0] > 0.5)).all()


def coin(chance):
    """Gives class 1 with this chance, whatever the input."""
    body = """f (float[N,2] x) => (float[N,3] y) {
        h = Sub(x, x) s = ReduceSum<keepdims=1>(h, axis) u = RandomUniformLike(s) g = Less(u, chance) c = Cast<to=1>(g)
        n = Sub(one, c) z = Sub(s, one) y = Concat<axis=1>(n, c, z) }"""
    constants = {"chance": np.float32(chance), "one": np.float32(1), "axis": np.array([1])}
    return Voter(read_upload(text(body, opset=18, **constants)), domain=(0.0, 1.0))


POINTS = np.random.default_rng(3).random((40, 2), dtype=np.float32)


@pytest.mark.parametrize(("chance", "least", "most"), [(1.0, 40, 40), (0.95, 39, 40), (0.5, 0, 1), (0.0, 0, 0)])
def test_a_point_counts_when_fresh_draws_surely_give_another_class(chance, least, most):
    voter = coin(chance)
    counted = sum(voter.check(point, 0).counts for point in POINTS)
    assert least <= counted <= most


def test_the_shares_of_the_draws_are_the_scores_and_the_largest_decides():
    scores = np.array([coin(0.75).scores(point) for point in POINTS])
    assert np.allclose(scores.sum(axis=1), 1)
    assert abs(scores[:, 1].mean() - 0.75) < 0.05
    assert len(set(scores[:, 1])) > 3
    assert (scores * DRAWS == np.round(scores * DRAWS)).all()


def test_a_point_has_the_same_draws_whenever_it_is_judged():
    one, other = coin(0.6), coin(0.6)
    backwards = [other.check(point, 0) for point in POINTS[::-1]][::-1]
    assert [one.check(point, 0) for point in POINTS] == backwards


def test_a_verdict_says_how_many_draws_agreed():
    verdict = coin(1.0).check(POINTS[0], 0)
    assert (verdict.counts, verdict.predicted, verdict.margin, verdict.confidence) == (True, 1, 1.0, 1.0)
    refused = coin(0.0).check(POINTS[0], 0)
    assert (refused.counts, refused.predicted, refused.margin) == (False, 0, -1.0)
    assert not coin(1.0).check(np.array([2.0, 0.0], np.float32), 0).counts


def test_so_many_wrong_draws_of_a_fair_coin_are_rare():
    from scipy import stats

    assert stats.binom.sf(NEEDED - 1, DRAWS, 0.5) <= 0.0011 < stats.binom.sf(NEEDED - 2, DRAWS, 0.5)
