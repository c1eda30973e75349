"""The check before any attack: is the compiled gradient the gradient of the scores?"""

import numpy as np
import pytest

from auditor.attacks.probe import check_gradient
from tests.zoo import Affine, Cross, Masked, Undefined, Zoo

X = np.random.default_rng(0).random((8, 6), dtype=np.float32)


def checked(classifier, x=X):
    y = np.argmax(classifier.scores(x), axis=1)
    return check_gradient(classifier, x, y, seed=0, width=1.0)


def test_a_right_gradient_agrees():
    check = checked(Affine((6,), 4))
    assert check.agrees
    assert check.error < 1e-2
    assert check.nonzero == 1


def test_a_right_gradient_agrees_across_kinks():
    assert checked(Cross(6)).agrees


class Wrong(Affine):
    """An affine classifier whose gradient went through a wrong rule."""

    def __init__(self, mistake):
        super().__init__((6,), 4)
        self.mistake = mistake

    def pull(self, flat, g):
        return self.mistake(super().pull(flat, g))


@pytest.mark.parametrize(
    "mistake",
    [lambda g: -g, lambda g: 2 * g, lambda g: g * np.array([1, 1, 1, 0, 0, 0]), lambda g: g[:, ::-1]],
    ids=["sign", "factor", "half of it missing", "order"],
)
def test_a_wrong_gradient_does_not_agree(mistake):
    assert not checked(Wrong(lambda g: mistake(g).astype(np.float32))).agrees


@pytest.mark.parametrize("offset", [30, 300])
def test_a_wrong_gradient_does_not_hide_behind_steps_that_drown_in_rounding(offset):
    classifier = Wrong(lambda g: -g)
    classifier.b += np.float32(offset)
    assert not checked(classifier).agrees


def test_a_gradient_that_is_zero_everywhere_is_told():
    assert checked(Masked((6,), 4)).nonzero == 0


def test_a_gradient_that_is_not_finite_never_agrees():
    check = checked(Undefined((6,), 4, edge=0.5))
    assert not check.finite
    assert not check.agrees


def test_scores_in_any_unit_are_compared_by_their_own_size():
    for scale in (1e-4, 1e4):
        classifier = Affine((6,), 4)
        classifier.W *= np.float32(scale)
        classifier.b *= np.float32(scale)
        assert checked(classifier).agrees


def test_a_gradient_that_is_wrong_wherever_it_can_be_compared_does_not_hide_behind_flat_examples():
    def mostly_flat(g):
        wrong = np.zeros_like(g)
        wrong[:2] = -g[:2]
        return wrong

    check = checked(Wrong(mostly_flat))
    assert check.compared == 2
    assert not check.agrees


def test_where_nothing_can_be_compared_it_is_told():
    check = checked(Masked((6,), 4))
    assert check.compared == 0
    assert check.error is None


class Bump(Zoo):
    """exp(-|x - c|^2 / width^2) against 0: beyond a small part of the domain both scores are alike."""

    def __init__(self, centre, width, factor=1.0):
        super().__init__(centre.shape, 2, None)
        self.centre, self.width, self.factor = centre, width, factor

    def scores(self, flat):
        away = (flat - self.centre) / np.float32(self.width)
        return np.stack([np.exp(-np.sum(away**2, axis=1)), np.zeros(len(flat))], axis=1).astype(np.float32)

    def pull(self, flat, g):
        away = (flat - self.centre) / np.float32(self.width)
        slope = -2 * away / self.width * self.scores(flat)[:, :1]
        return (self.factor * g[:, :1] * slope).astype(np.float32)


@pytest.mark.parametrize("width", [0.1, 1e-3, 1e-4])
def test_a_small_part_of_the_domain_is_looked_at_closely(width):
    x = X[:1] + np.float32(width / 4) * np.random.default_rng(1).standard_normal((8, 6), dtype=np.float32)
    check = checked(Bump(X[0], width), x)
    assert check.agrees
    assert check.error is not None
    assert not checked(Bump(X[0], width, factor=2.0), x).agrees
