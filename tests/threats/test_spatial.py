"""Turning and moving images, and attackers who do."""

import numpy as np
import pytest
from scipy import ndimage

from auditor.attacks.progress import Examples
from auditor.attacks.space import Space
from auditor.attacks.verify import Verdict
from auditor.threats.judge import judge
from auditor.threats.pixels import Pixels
from auditor.threats.spatial import (
    moved,
    rotation,
    rotation_translation,
    rotation_translation_gradient,
    translation,
)
from auditor.threats.threat import Scene
from tests.zoo import Affine, Zoo

PIXELS = Pixels(1, 12, 12, 0, (0.0, 1.0))


def smooth(n=3, channels=2, h=12, w=10):
    return ndimage.gaussian_filter(np.random.default_rng(1).random((n, channels, h, w)), 1.5, axes=(2, 3)).astype(
        "f4"
    )


def pose(n, degrees=0.0, down=0.0, right=0.0):
    return np.tile([np.deg2rad(degrees), down, right], (n, 1)).astype(np.float64)


@pytest.mark.parametrize("degrees", [-30, 7.5, 90, 123])
def test_turns_are_scipys(degrees):
    planes = smooth()
    found = moved(np, planes, pose(3, degrees)).planes
    expected = ndimage.rotate(planes.astype("f8"), degrees, axes=(3, 2), reshape=False, order=1, mode="grid-constant")
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (0.25, 1.5)])
def test_moves_are_scipys(down, right):
    planes = smooth()
    found = moved(np, planes, pose(3, 0, down, right)).planes
    expected = ndimage.shift(planes.astype("f8"), (0, 0, down, right), order=1, mode="grid-constant")
    assert np.allclose(found, expected, atol=1e-5)


def test_an_image_that_is_not_moved_is_as_it_was():
    planes = smooth()
    assert np.array_equal(moved(np, planes, pose(3)).planes, planes)


def test_each_image_has_its_own_pose():
    planes, poses = smooth(), np.array([[0.2, 0, 1], [0, 1.5, 0], [-0.4, 0.3, -2]])
    together = moved(np, planes, poses).planes
    for row in range(3):
        assert np.array_equal(together[row : row + 1], moved(np, planes[row : row + 1], poses[row : row + 1]).planes)


def test_slopes_are_differences():
    planes, at = smooth(), np.array([[0.213, 0.37, -0.61]] * 3)
    found, h = moved(np, planes, at), 1e-3
    for i, slope in enumerate((found.turning, found.lowering, found.shifting)):
        step = np.zeros(3)
        step[i] = h
        difference = (moved(np, planes, at + step).planes - moved(np, planes, at - step).planes) / (2 * h)
        close = np.abs(difference - slope) < 5e-3
        assert close.mean() > 0.97  # the rest lie on an edge between pixels, where there are two slopes
        assert np.abs(slope).max() > 0.05


class Bright(Zoo):
    """Class 1 where the corner of an image holds more than half."""

    def scores(self, flat):
        corner = flat.reshape(-1, 12, 12)[:, :4, :4].sum(axis=(1, 2))
        return np.stack([np.zeros_like(corner), corner - 0.5], axis=1).astype(np.float32)


class Agreeing:
    """A verifier that asks the classifier itself."""

    def __init__(self, classifier):
        self.classifier = classifier

    def check(self, x_adv, y):
        scores = self.classifier.logits(x_adv[None].astype(np.float32))[0]
        return Verdict(int(np.argmax(scores)) != y, int(np.argmax(scores)), 1.0)


def judged(threat, classifier, x, y, pixels=PIXELS, **chance):
    examples = Examples(np.arange(len(x)), x, y, np.argmax(classifier.logits(x), axis=1) == y)
    return judge(
        threat,
        examples,
        classifier=classifier,
        verifier=Agreeing(classifier),
        space=Space(classifier.domain),
        seed=0,
        pixels=pixels,
        **chance,
    )


def spots(*places):
    """One pixel of light in each image."""
    x = np.zeros((len(places), 1, 12, 12), np.float32)
    for row, (i, j) in enumerate(places):
        x[row, 0, i, j] = 1
    return x


def test_the_grid_finds_what_a_turn_and_a_move_can_reach():
    x = spots((5, 2), (10, 10))  # the first is one pixel from the corner, the second lies opposite
    found = judged(rotation_translation(PIXELS), Bright((1, 12, 12), 2, (0.0, 1.0)), x, np.zeros(2, np.int64))
    assert found.standing[:, 1].tolist() == [False, True]
    assert found.forwards[1] == 785
    assert found.forwards[0] < 785


def test_steps_along_the_slopes_find_nearly_what_the_grid_finds():
    rng = np.random.default_rng(3)
    classifier = Affine((1, 12, 12), 3, seed=2, domain=(0.0, 1.0))
    x = ndimage.gaussian_filter(rng.random((20, 1, 12, 12)), 1.0, axes=(2, 3)).astype(np.float32)
    y = np.argmax(classifier.logits(x), axis=1)
    threat = rotation_translation_gradient(PIXELS)
    found = judged(threat, classifier, x, y)
    assert found.standing.sum() < 20
    assert (found.forwards <= threat.at_most.forwards).all()
    assert (found.backwards <= threat.at_most.backwards).all()
    grid = judged(rotation_translation(PIXELS), classifier, x, y)
    assert abs(int(grid.standing[:, -1].sum()) - int(found.standing.sum())) <= 2


@pytest.mark.parametrize("layout", [0, 2])
def test_gradient_steps_work_in_both_layouts_and_any_domain(layout):
    pixels = Pixels(1, 12, 12, layout, (-1.0, 1.0))
    shape = (1, 12, 12) if layout == 0 else (12, 12, 1)
    classifier = Affine(shape, 2, seed=4, domain=(-1.0, 1.0))
    x = (2 * ndimage.gaussian_filter(np.random.default_rng(5).random((8, *shape)), 1.0, axes=(1, 2)) - 1).astype("f4")
    x = np.clip(x.reshape(8, *shape), -1, 1)
    y = np.argmax(classifier.logits(x), axis=1)
    found = judged(rotation_translation_gradient(pixels), classifier, x, y, pixels)
    assert not found.standing.all()
    assert found.refuted == 0


def test_sweeps_move_by_what_they_say():
    x = spots((6, 6))

    def shown(threat, setting):
        scene = Scene(Bright((1, 12, 12), 2), np.arange(1), x, np.zeros(1), np.ones(1, bool), 0, "s", PIXELS)
        return next(threat.points(scene, setting))[0, 0]

    down = shown(translation(PIXELS), {"down": 2})
    assert (down[8, 6], down.sum()) == (1, 1)
    assert {"right": -1} in translation(PIXELS).settings
    assert len(rotation(PIXELS).settings) == 10
    turned = shown(rotation(PIXELS), {"degrees": 30})
    assert turned.sum() == pytest.approx(1, abs=0.05)
