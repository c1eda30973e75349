"""Measurements of gradients and of how far an attack climbs, on classifiers with known ones."""

import numpy as np

from auditor.attacks.diagnosis import Slopes, Traced, jumps, slopes
from auditor.attacks.pgd import pgd
from auditor.attacks.random import Random
from auditor.classifier import Evaluation
from auditor.spec import Loss
from tests.zoo import Affine, Masked, Undefined, Zoo

RNG = np.random.default_rng(3)
X = RNG.random((12, 6)).astype(np.float32)


def measured(classifier: Zoo, x: np.ndarray = X) -> Slopes:
    return slopes(classifier, x, classifier.scores(x).argmax(axis=1))


class Sure(Affine):
    """Scores so far apart that the softmax in float32 is 1 and 0."""

    def __init__(self):
        super().__init__((6,), 3)
        self.W, self.b = self.W * np.float32(1e6), self.b * np.float32(1e6)


class Full(Affine):
    """The label's score has reached its end, and moves no more."""

    def scores(self, flat):
        return np.minimum(super().scores(flat), np.float32(-10))

    def pull(self, flat, g):
        return super().pull(flat, np.where(super().scores(flat) < -10, g, np.float32(0)))


class Softmaxed(Affine):
    def scores(self, flat):
        share = np.exp(super().scores(flat).astype(np.float64))
        return (share / share.sum(axis=1, keepdims=True)).astype(np.float32)


def test_an_honest_gradient_is_neither_zero_nor_undefined():
    found = measured(Affine((6,), 3))
    assert not (found.zero | found.zero_cross_entropy | found.probabilities).any()
    assert found.finite.all()


def test_a_masked_gradient_is_zero_on_every_example():
    found = measured(Masked((6,), 3))
    assert found.zero.all()
    assert found.zero_cross_entropy.all()


def test_a_label_whose_own_score_moves_no_more_is_seen():
    full = Full((6,), 3)
    full.W[1:] *= 20
    full.b[:] = (0, -30, -30)
    found = slopes(full, X, np.zeros(len(X), np.int64))
    assert found.zero_label.all()
    assert not found.zero.any()


def test_a_gradient_that_is_nan_on_some_examples_is_seen_on_those():
    classifier = Undefined((6,), 3, edge=0.5)
    found = slopes(classifier, X, np.zeros(len(X), np.int64))
    assert np.array_equal(found.finite, X[:, 0] < 0.5)
    assert 0 < found.finite.sum() < len(X)


def test_a_sure_softmax_loses_the_cross_entropys_gradient_but_not_the_margins():
    found = measured(Sure())
    assert found.zero_cross_entropy.all()
    assert not found.zero.any()


def test_probabilities_are_told_from_logits():
    assert measured(Softmaxed((6,), 3)).probabilities.all()
    assert not measured(Affine((6,), 3)).probabilities.all()


class Scripted:
    """Gives the losses it is told, step by step, the same for every row."""

    xp, shape, classes, domain = np, (1,), 2, None

    def __init__(self, losses):
        self._losses = iter(losses)

    def logits(self, x, *, active=None):
        return np.zeros((len(x), 2), np.float32)

    def gradient(self, x, y, loss, *, target=None, active=None):
        return Evaluation(self.logits(x), np.full(len(x), next(self._losses), np.float32), np.zeros_like(x))


def late_rise(losses, rows=2, stopped_at=None):
    x, y = np.zeros((rows, 1), np.float32), np.zeros(rows, np.int64)
    traced = Traced(Scripted(losses), y)
    for step in range(len(losses)):
        active = np.array([True] * (rows - 1) + [stopped_at is None or step < stopped_at])
        traced.gradient(x, y, Loss.MARGIN, active=active)
    return traced.late_rise(rows)


def test_the_late_rise_is_the_share_of_the_range_gained_in_the_last_quarter():
    assert np.allclose(late_rise([0, 1, 2, 3, 4, 5, 6, 8]), 3 / 8)


def test_a_loss_that_falls_at_the_end_does_not_rise():
    assert np.array_equal(late_rise([0, 4, 8, 8, 8, 8, 2, 3]), [0, 0])


def test_a_flat_loss_does_not_rise():
    assert np.array_equal(late_rise([1.0] * 8), [0, 0])


def test_a_row_that_was_left_because_it_goes_in_circles_does_not_rise():
    assert late_rise([0, 1, 2, 3, 4, 5, 6, 8], stopped_at=3).tolist() == [3 / 8, 0]


def test_rows_that_were_broken_or_met_an_undefined_loss_have_no_late_rise():
    traced = Traced(Affine((6,), 3), np.zeros(len(X), np.int64))
    y = Affine((6,), 3).scores(X).argmax(axis=1)
    for broken in (False, False, True, True):
        active = (np.arange(len(X)) == 0) | (not broken)
        traced.gradient(X, y, Loss.MARGIN, active=active)
    gone = traced.broken_at[1:] >= 0
    assert gone.any()
    assert np.array_equal(np.isnan(traced.late_rise(len(X)))[1:], gone)
    assert np.isnan(late_rise([0, 1, np.nan, 3, 4, 5, 6, 8])).all()


def test_an_attack_that_made_no_step_has_no_late_rise():
    assert np.isnan(Traced(Affine((6,), 3), np.zeros(4, np.int64)).late_rise(4)).all()


def test_tracing_changes_nothing_that_an_attack_finds():
    classifier = Affine((6,), 3)
    y = classifier.scores(X).argmax(axis=1)
    rng = Random.keyed(np, 0, "pgd", np.arange(len(X)))
    bare, traced = (
        pgd(each, X, y, eps=np.full(len(X), 0.05), norm="Linf", rng=rng, steps=8)
        for each in (classifier, Traced(classifier, y))
    )
    assert np.array_equal(bare.x_adv, traced.x_adv)
    assert np.array_equal(bare.found, traced.found)


def test_a_trace_tells_the_call_at_which_each_row_was_first_broken():
    classifier = Affine((6,), 2)
    y = classifier.scores(X).argmax(axis=1)
    traced = Traced(classifier, y)
    across = X + 2 * (classifier.W[1 - y] - classifier.W[y])  # far over the boundary
    traced.logits(X)
    first, second = np.arange(len(X)) < 4, np.arange(len(X)) < 8
    traced.gradient(across, y, Loss.MARGIN, active=first)
    traced.logits(across, active=second)
    assert traced.broken_at.tolist() == [1] * 4 + [2] * 4 + [-1] * 4


class Rippled(Affine):
    """An affine classifier with a ripple that no gradient of the whole would show."""

    def scores(self, flat):
        ripple = np.sin(flat * np.float32(1e5)).sum(axis=1, keepdims=True) * np.float32([1, -1, 1])
        return super().scores(flat) + 5 * ripple


def around(classifier):
    rng = Random.keyed(np, 0, "jumps", np.arange(len(X)))
    return jumps(classifier, X, classifier.scores(X).argmax(axis=1), rng, 1.0)


def test_the_margin_of_a_smooth_loss_hardly_moves_nearby_and_that_of_a_rough_one_does():
    smooth, exact = Affine((6,), 2), Affine((6,), 2).exact(X, Affine((6,), 2).scores(X).argmax(axis=1), "Linf")
    assert (around(smooth) <= 1e-3 / exact).all()
    assert np.median(around(Rippled((6,), 3))) > 0.1


def test_a_margin_that_is_undefined_nearby_has_no_size():
    assert np.isnan(around(Undefined((6,), 3, edge=-1.0))).all()
