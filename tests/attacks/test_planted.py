"""Planted adversarial examples on classifiers whose features are known."""

import numpy as np
import pytest

from auditor.attacks.norms import distance
from auditor.attacks.pgd import pgd
from auditor.attacks.planted import INNER, Planted, Unquestioned, plant
from auditor.attacks.random import Random
from auditor.spec import Loss
from tests.zoo import Affine, Zoo, _loss

X = np.random.default_rng(5).uniform(0.2, 0.8, (6, 12)).astype(np.float32)


class Readout(Zoo):
    """Linear read-outs of an affine classifier's scores."""

    def __init__(self, features, made):
        super().__init__(features.shape, len(made.offsets), features.domain)
        self.features, self.made = features, made

    def scores(self, flat):
        return (self.features.scores(flat)[:, :, None] * self.made.weights).sum(axis=1) + self.made.offsets

    def pull(self, flat, g):
        return self.features.pull(flat, (g[:, None, :] * self.made.weights).sum(axis=-1).astype(np.float32))


def planted(features, norm="Linf", eps=0.1, x=X):
    rng = Random.keyed(np, 0, "planted", np.arange(len(x)))
    return plant(features, x, eps=eps, norm=norm, width=1.0, rng=rng)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 0.3), ("L1", 0.5), ("L0", 3)])
def test_a_planted_point_lies_in_the_ball_beyond_a_boundary_that_leaves_the_inner_points_out(norm, eps):
    features = Affine((12,), 12, domain=(0.0, 1.0))
    made = planted(features, norm, eps)
    assert made.separable.mean() > 0.8
    assert (distance(np, made.points, X, norm) <= eps).all()
    there, here = (Planted(Readout(features, made)).logits(x)[:, 1] for x in (made.points, X))
    assert (there[made.separable] > 0).all()
    assert (there[made.separable] < 0.01).all()
    assert (here[made.separable] < 0).all()


def test_planting_costs_what_it_says_and_does_not_depend_on_the_neighbours():
    features = Affine((12,), 12, domain=(0.0, 1.0))
    made = planted(features)
    assert features.forwards == len(X) * (INNER + 1)
    alone = plant(
        features, X[2:3], eps=0.1, norm="Linf", width=1.0, rng=Random.keyed(np, 0, "planted", np.array([2]))
    )
    assert np.array_equal(alone.weights[:, 0], made.weights[:, 2])
    assert np.array_equal(alone.points[0], made.points[2])


class Deaf(Affine):
    """Features that no input moves."""

    def scores(self, flat):
        return np.ones((len(flat), self.classes), np.float32)


def test_features_that_do_not_move_show_no_planted_point():
    assert not planted(Deaf((12,), 12, domain=(0.0, 1.0))).separable.any()


def test_a_good_attack_finds_what_was_planted():
    features = Affine((12,), 12, domain=(0.0, 1.0))
    made = planted(features)
    problem = Planted(Readout(features, made))
    found = pgd(
        problem,
        X,
        np.zeros(len(X), np.int64),
        eps=np.full(len(X), 0.1),
        norm="Linf",
        rng=Random.keyed(np, 0, "attack", np.arange(len(X))),
        active=made.separable,
        loss=Loss.MARGIN,
    )
    assert np.array_equal(found.found, made.separable)


@pytest.mark.parametrize("kind", list(Loss))
@pytest.mark.parametrize("label", [0, 1])
def test_every_loss_of_a_planted_problem_is_that_of_two_classes(kind, label):
    features = Affine((12,), 4)
    problem = Planted(Readout(features, planted(features)))
    y = np.full(len(X), label)
    found = problem.gradient(X, y, kind, target=1 - y)
    value, slope = _loss(found.logits.astype(np.float64), y, two(kind), 1 - y)
    assert np.allclose(found.loss, value, atol=1e-5)
    own = problem.gradient(X, np.zeros(len(X), np.int64), Loss.MARGIN).g  # of the second score alone
    assert np.allclose(found.g, own * slope[:, 1:].astype(np.float32), atol=1e-4)


def two(kind):
    return {Loss.DLR: Loss.MARGIN, Loss.TARGETED_DLR: Loss.DIFFERENCE}.get(kind, kind)


def test_nobody_questions_a_claim_about_a_planted_problem():
    assert Unquestioned().check(X[0], 0).counts
