"""What is done to inputs at random before a model: exact adjoints, fresh draws per example, and what then counts."""

import numpy as np
import pytest

from auditor.attacks.expectation import Averaged
from auditor.attacks.random import Random
from auditor.attacks.transformations import Served
from auditor.attacks.votes import NEEDED, Voter
from auditor.classifier import Layer
from auditor.errors import SpecError
from auditor.graph.upload import read_upload
from auditor.spec import Loss, Transformation
from tests.graph.models import text
from tests.zoo import Affine

EXAMPLES = 40
EVERY = ("noise:0.1", "brightness:0.2", "shift:3", "resize:0.5,1", "resize:1,2")
LAYOUTS = {"NCHW": (3, 7, 9), "NHWC": (7, 9, 3)}


def served(*said, shape=(3, 7, 9), layout="NCHW", domain=(0.0, 1.0)):
    return Served.of(tuple(map(Transformation.parse, said)), shape, layout, domain)


def keyed(n=EXAMPLES):
    return Random.keyed(np, 0, "transformations", np.arange(n))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("said", [(one,) for one in EVERY] + [EVERY])
def test_a_cotangent_comes_back_by_the_adjoint(said, layout):
    shape = LAYOUTS[layout]
    drawn = served(*said, shape=shape, layout=layout, domain=(-1.0, 3.0)).drawn(keyed(), 0, shape)
    x, g = np.random.default_rng(0).normal(size=(2, EXAMPLES, *shape)).astype(np.float32)
    linear = drawn.apply(x).astype(np.float64) - drawn.apply(np.zeros_like(x))
    there, back = (np.sum(a * b, axis=(1, 2, 3)) for a, b in ((linear, g), (x, drawn.pull(g).astype(np.float64))))
    np.testing.assert_allclose(there, back, atol=1e-4)
    assert np.ptp(linear - x, axis=0).max() > 0 or said[0].split(":")[0] in ("noise", "brightness")


def test_a_shift_is_by_whole_pixels_onto_black_and_every_one_comes():
    x = np.random.default_rng(0).random((1, 1, 5, 6)).astype(np.float32)
    shift, seen = served("shift:1", shape=(1, 5, 6), domain=(-1.0, 1.0)), set()
    for step in range(60):
        (moved,) = shift.drawn(keyed(1), step, (1, 5, 6)).apply(x)[0]
        padded = np.pad(x[0, 0], 1, constant_values=-1)
        by = [
            (i, j) for i in range(3) for j in range(3) if np.allclose(padded[i : i + 5, j : j + 6], moved, atol=1e-6)
        ]
        assert len(by) == 1
        seen.update(by)
    assert len(seen) == 9


def test_noise_and_brightness_are_as_large_as_was_said_and_each_example_has_its_own():
    x = np.zeros((EXAMPLES, 3, 7, 9), np.float32)
    noise = served("noise:0.1", domain=(0.0, 255.0)).drawn(keyed(), 0, x.shape[1:]).apply(x)
    assert abs(noise.std() - 25.5) < 1
    light = served("brightness:0.2").drawn(keyed(), 0, x.shape[1:]).apply(x).reshape(EXAMPLES, -1)
    assert np.ptp(light, axis=1).max() == 0
    assert (np.abs(light) <= 0.2).all()
    assert np.ptp(light[:, 0]) > 0.3


def test_a_resized_image_keeps_its_size_and_its_middle():
    x = np.full((EXAMPLES, 3, 8, 8), 0.5, np.float32)
    for said, least, most in (("resize:0.5,0.5", 16, 25), ("resize:2,2", 64, 64)):
        made = served(said, shape=(3, 8, 8)).drawn(keyed(), 0, (3, 8, 8)).apply(x)
        lit = (np.abs(made - 0.5) < 1e-6).sum(axis=(2, 3))
        assert made.shape == x.shape
        assert ((np.abs(made) > 0.1).sum(axis=(2, 3)) <= most).all()
        assert (lit >= least * 0.3).all()


def test_neighbours_change_no_draw_and_others_are_left_alone():
    affine = Affine((3, 7, 9), 3)
    x = np.random.default_rng(0).random((6, 3, 7, 9), np.float32)
    active = np.arange(6) % 2 == 0
    whole, part = (served(*EVERY).before(affine, keyed(6)) for _ in range(2))
    everyone, some = whole.logits(x), part.logits(x, active=active)
    np.testing.assert_array_equal(everyone[active], some[active])
    assert not np.array_equal(everyone, whole.logits(x))
    assert served().before(affine, keyed(6)) is affine


def test_an_averaged_gradient_is_that_of_the_mean():
    """Of an affine classifier: W pulled back through the mean of the maps, here half of the way to the right."""
    affine = Affine((1, 1, 2), 2)
    y = np.zeros(4, np.int64)
    x = np.random.default_rng(0).random((4, 1, 1, 2), np.float32)
    behind = served("shift:1", shape=(1, 1, 2)).before(affine, keyed(4))
    found = Averaged(behind, 900, y).gradient(x, y, Loss.MARGIN)
    slope = affine.W[1] - affine.W[0]
    # down or up leaves black alone: one third of the draws stays in the one row; there each way is as likely
    expected = np.array([slope[0] + slope[1], slope[0] + slope[1]]) / 9
    np.testing.assert_allclose(found.g[:, 0, 0], np.tile(expected, (4, 1)), atol=0.12 * np.abs(slope).max())


def test_a_layer_behind_transformations_has_its_mean_features_and_slopes():
    """The scores of an affine classifier, as a layer of it."""
    affine, n = Affine((1, 1, 2), 2), 4
    x = np.random.default_rng(0).random((n, 1, 1, 2), np.float32)
    along = np.tile(np.float32([1, -2]), (n, 1))

    def at(x, along, active):
        g = np.zeros_like(x) if along is None else (along @ affine.W).reshape(x.shape)
        return affine.logits(x), g

    behind = served("shift:1", shape=(1, 1, 2)).before(affine, keyed(n))
    layer = Averaged(behind, 900, np.zeros(n, np.int64)).layer(behind.layer(Layer(2, at)))
    features, g = layer.at(x, along, np.ones(n, bool))
    slope = along[0] @ affine.W
    expected = np.array([slope[0] + slope[1], slope[0] + slope[1]]) / 9  # as of the gradient above
    np.testing.assert_allclose(g[:, 0, 0], np.tile(expected, (n, 1)), atol=0.12 * np.abs(slope).max())
    sums = x.sum(axis=3)[:, 0] / 9  # what is left of both pixels, wherever they are
    np.testing.assert_allclose(features, sums * affine.W.sum(axis=1) + affine.b, atol=0.12 * np.abs(affine.W).max())


def test_what_is_drawn_for_an_example_does_not_depend_on_how_often_others_were_asked():
    affine, n = Affine((3, 7, 9), 3), 6
    x = np.random.default_rng(0).random((n, 3, 7, 9), np.float32)
    some = np.arange(n) % 2 == 0
    busy, idle = (served(*EVERY).before(affine, keyed(n)) for _ in range(2))
    busy.logits(x, active=~some)
    np.testing.assert_array_equal(busy.logits(x)[some], idle.logits(x)[some])


def halved(threshold):
    """Class 1 where the first feature is above the threshold."""
    body = "f (float[N,2] x) => (float[N,2] y) { z = MatMul(x, W) y = Sub(z, t) }"
    W = np.array([[0, 1], [0, 0]], np.float32)
    return read_upload(text(body, W=W, t=np.array([0, threshold], np.float32)))


def test_a_point_counts_where_it_breaks_the_upload_and_survives_fresh_draws():
    voter = Voter(halved(0.5), domain=(0.0, 1.0), served=served("noise:0.1", shape=(2,)))
    beyond, on_the_edge, before = (np.array([a, 0.3], np.float32) for a in (0.7, 0.51, 0.3))
    sure = voter.check(beyond, 0)
    assert sure.counts
    assert sure.confidence * 32 >= NEEDED
    assert not voter.check(on_the_edge, 0).counts  # it breaks the upload, and half of the draws do not show it
    assert not voter.check(before, 0).counts
    assert voter.check(beyond, 0) == sure
    assert voter.scores(before)[0] > 0.9


def test_what_survives_but_does_not_break_the_upload_itself_does_not_count():
    dark = served("shift:1", shape=(1, 1, 2), domain=(0.0, 1.0))  # most draws leave nothing but black
    body = "f (float[N,1,1,2] x) => (float[N,2] y) { z = Flatten(x) a = MatMul(z, W) y = Sub(a, t) }"
    W = np.array([[1, 0], [1, 0]], np.float32)
    upload = read_upload(text(body, W=W, t=np.array([0.1, 0], np.float32)), layout="NCHW")
    lit = np.ones((1, 1, 2), np.float32)
    voter = Voter(upload, domain=(0.0, 1.0), served=dark)
    assert voter.scores(lit).argmax() == 1
    assert not voter.check(lit, 0).counts


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("blur:1", "not understood"),
        ("noise", "not understood"),
        ("noise:0", "ascend"),
        ("resize:0.9", "two numbers"),
        ("resize:1.1,0.9", "ascend"),
        ("shift:1.5", "whole pixels"),
        ("noise:-1", "not understood"),
    ],
)
def test_what_cannot_be_done_is_refused(said, why):
    with pytest.raises(SpecError, match=why):
        Transformation.parse(said)


def test_a_transformation_is_written_as_it_was_said():
    for said in ("noise:0.05", "shift:2", "resize:0.9,1.1", "brightness:0.1"):
        assert str(Transformation.parse(said)) == said
    with pytest.raises(SpecError, match="moves pixels"):
        served("shift:2", shape=(5,), layout=None)
