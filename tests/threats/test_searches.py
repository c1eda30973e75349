"""Noise, colours and one perturbation for all, on classifiers whose answers are known."""

import numpy as np
import pytest

from auditor.attacks.norms import distance
from auditor.attacks.random import Random
from auditor.attacks.space import Space
from auditor.attacks.transformations import Served
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Threat, Transformation
from auditor.threats.colour import NODES, colour, node_weights, pulled, recoloured
from auditor.threats.noise import DRAWS, noise
from auditor.threats.pixels import Pixels
from auditor.threats.threat import Lesson, Scene
from auditor.threats.universal import FEWEST, learnt, universal
from tests.threats.test_spatial import judged
from tests.zoo import Affine

SPEC = AuditSpec(
    threats=(Threat(norm="Linf", eps=("0.05", "0.1")), Threat(norm="L2", eps=("0.5",))), domain=(0.0, 1.0)
)

SPACE = Space((0.0, 1.0))


def scene(x, classifier, **choices):
    return Scene(
        classifier, np.arange(len(x)), x, np.zeros(len(x), np.int64), np.ones(len(x), bool), 0, "s", **choices
    )


def test_noise_lies_inside_its_ball_and_the_domain():
    classifier = Affine((2, 5), 3, domain=(0.0, 1.0))
    x = np.random.default_rng(0).random((6, 2, 5), dtype=np.float32)
    threat = noise(SPEC, SPACE)
    assert [(s["norm"], s["eps"]) for s in threat.settings] == [("Linf", "0.05"), ("Linf", "0.1"), ("L2", "0.5")]
    for setting in threat.settings:
        draws = list(threat.points(scene(x, classifier), setting))
        assert len(draws) == DRAWS
        for draw in draws:
            assert (distance(np, draw, x, setting["norm"]) <= float(setting["eps"])).all()
            assert draw.min() >= 0
            assert draw.max() <= 1
        assert len({draw.tobytes() for draw in draws}) == DRAWS


def test_noise_needs_a_norm_with_balls():
    with pytest.raises(SpecError, match="balls"):
        noise(SPEC.model_copy(update={"threats": (Threat(norm="L0", eps=("1",)),)}), SPACE)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_shares_of_the_nodes_sum_to_one_and_keep_even_moves(channels):
    planes = np.random.default_rng(0).random((2, channels, 4, 5), dtype=np.float32)
    weights = list(node_weights(np, planes))
    assert len(weights) == NODES**channels
    assert np.allclose(sum(weights), 1, atol=1e-6)
    even = np.full((2, NODES**channels, channels), 0.1, np.float32)
    assert np.allclose(recoloured(np, planes, even), planes + 0.1, atol=1e-6)


def test_the_way_back_is_the_adjoint():
    rng = np.random.default_rng(1)
    planes, g = (rng.random((2, 3, 4, 5)).astype(np.float32) for _ in range(2))
    moves = rng.standard_normal((2, NODES**3, 3)).astype(np.float32)
    forth = ((recoloured(np, planes, moves) - planes) * g).sum(axis=(1, 2, 3))
    assert np.allclose(forth, (moves * pulled(np, planes, g)).sum(axis=(1, 2)), rtol=1e-4)


def test_equal_colours_change_alike_and_by_no_more_than_eps():
    pixels = Pixels(3, 6, 6, 0, (0.0, 1.0))
    classifier = Affine((3, 6, 6), 4, seed=1, domain=(0.0, 1.0))
    rng = np.random.default_rng(2)
    x = rng.random((10, 3, 6, 6), dtype=np.float32)
    x[:, :, 3:] = x[:, :, :3]  # every colour twice
    y = np.argmax(classifier.logits(x), axis=1)
    threat = colour(pixels)
    setting = threat.settings[3]
    made = next(threat.points(scene(x, classifier, pixels=pixels), setting | {"steps": 5}))
    assert np.array_equal(made[:, :, 3:], made[:, :, :3])
    assert np.abs(made - x).max() <= setting["eps"] + 1e-6
    found = judged(threat, classifier, x, y, pixels)
    standing = found.standing.sum(axis=0)
    assert standing[-1] < len(x)
    assert (np.diff(standing) <= 0).all()
    assert (found.backwards <= threat.at_most.backwards).all()


def test_where_all_examples_move_alike_the_best_colour_is_found():
    """Grey images of one level: all that can be done is to add a constant, so the answer is known."""
    pixels = Pixels(1, 3, 3, 0, (0.0, 1.0))
    classifier = Affine((1, 3, 3), 2, seed=3, domain=(0.0, 1.0))
    slope = float((classifier.W[1] - classifier.W[0]).sum())
    classifier.b = np.array([0.5 * slope, 0], np.float32)  # the boundary lies at grey 0.5
    x = np.repeat(np.float32([0.45, 0.35, 0.53, 0.75]), 9).reshape(4, 1, 3, 3)
    y = np.argmax(classifier.logits(x), axis=1)
    found = judged(colour(pixels), classifier, x, y, pixels)
    # eps 0.02, 0.04, 0.06, 0.1, 0.2 against distances of 0.05, 0.15, 0.03 and 0.25
    assert found.standing.tolist() == [
        [True, True, False, False, False],
        [True, True, True, True, False],
        [True, False, False, False, False],
        [True] * 5,
    ]


@pytest.mark.parametrize("draws", [1, 5])
def test_a_search_by_gradients_follows_their_mean_behind_what_is_done_to_inputs(draws):
    """Grey images of one level again; noise moves none of the means that decide, and every pass costs its draws."""
    pixels = Pixels(1, 3, 3, 0, (0.0, 1.0))
    classifier = Affine((1, 3, 3), 2, seed=3, domain=(0.0, 1.0))
    slope = float((classifier.W[1] - classifier.W[0]).sum())
    classifier.b = np.array([0.5 * slope, 0], np.float32)
    x = np.repeat(np.float32([0.45, 0.75]), 9).reshape(2, 1, 3, 3)
    y = np.argmax(classifier.logits(x), axis=1)
    noisy = Served((Transformation.parse("noise:0.0001"),), (0.0, 1.0))
    found = judged(colour(pixels), classifier, x, y, pixels, served=noisy, draws=draws)
    assert found.standing.tolist() == [[True, True, False, False, False], [True] * 5]
    assert found.backwards[1] == 5 * 30 * draws
    assert found.forwards[1] == 5 * (30 * draws + 1)


def lesson(classifier, x, y):
    return Lesson(classifier, np.arange(100, 100 + len(x)), x, y, 0)


@pytest.mark.parametrize(("norm", "order"), [("Linf", np.inf), ("L2", 2)])
def test_of_a_linear_model_the_perturbation_is_the_boundarys_normal(norm, order):
    classifier = Affine((2, 6), 2, seed=5)
    x = np.random.default_rng(6).standard_normal((40, 2, 6)).astype(np.float32)
    y = np.zeros(40, np.int64)  # all of one class: towards the other there is one best direction
    threat = Threat(norm=norm, eps=("0.1", "0.3"))
    found = learnt(lesson(classifier, x, y), threat, Space(None))
    normal = (classifier.W[1] - classifier.W[0]).astype(np.float64)
    best = np.sign(normal) if norm == "Linf" else normal / np.linalg.norm(normal)
    for eps in threat.eps:
        delta = found[eps].reshape(-1).astype(np.float64)
        assert np.linalg.norm(delta, order) <= float(eps)
        assert delta @ normal > 0.98 * float(eps) * (best @ normal)


def test_what_is_learnt_is_laid_on_every_example_alike():
    classifier = Affine((2, 6), 3, seed=7, domain=(0.0, 1.0))
    rng = np.random.default_rng(8)
    known, x = (0.3 + 0.4 * rng.random((n, 2, 6), dtype=np.float32) for n in (60, 8))
    spec = SPEC.model_copy(update={"threats": (Threat(norm="Linf", eps=("0.05", "0.2")),)})
    untaught = universal(spec, SPACE, "Linf", 60)
    taught = untaught.learn(lesson(classifier, known, np.argmax(classifier.logits(known), axis=1)))
    assert taught.learning.backwards == 8 * 2 * 60
    for setting in taught.settings:
        delta = next(taught.points(scene(x, classifier), setting)) - x
        assert np.allclose(delta, delta[:1], atol=1e-6)
        assert 0 < np.abs(delta).max() <= float(setting["eps"])
    again = universal(spec, SPACE, "Linf", 60).learn(
        lesson(classifier, known, np.argmax(classifier.logits(known), axis=1))
    )
    for setting in taught.settings:
        points = [next(t.points(scene(x, classifier), setting)).tobytes() for t in (taught, again)]
        assert points[0] == points[1]


def test_too_few_examples_to_learn_on_or_no_such_norm_are_refused():
    with pytest.raises(SpecError, match="learnt"):
        universal(SPEC, SPACE, "Linf", FEWEST - 1)
    with pytest.raises(SpecError, match="--norm L1"):
        universal(SPEC, SPACE, "L1", 100)


def test_random_numbers_differ_by_setting_and_not_by_neighbours():
    classifier = Affine((2, 5), 3)
    x = np.zeros((6, 2, 5), np.float32)
    whole, setting = scene(x, classifier), {"norm": "Linf", "eps": "0.05"}
    part = Scene(classifier, np.arange(2, 4), x[2:4], np.zeros(2), np.ones(2, bool), 0, "s")
    drawn = whole.rng(np, setting).integers(0, 4)
    assert np.array_equal(drawn[2:4], part.rng(np, setting).integers(0, 4))
    assert not np.array_equal(drawn, whole.rng(np, {"norm": "Linf", "eps": "0.1"}).integers(0, 4))
    assert isinstance(whole.rng(np, setting), Random)
