"""Inputs that float16 holds."""

import numpy as np
import pytest

from auditor.attacks.half import Half, in_half
from auditor.attacks.stage import Stage
from tests.attacks.test_cascade import run, slice_of
from tests.zoo import Affine

UNIT = (0.0, 1.0)


def test_points_are_rounded_towards_the_clean_example():
    rng = np.random.default_rng(0)
    x = in_half(np, rng.random((50, 7), np.float32))
    points = rng.random((50, 7), np.float32)
    view = Half(UNIT).view(Affine((7,), 3, domain=UNIT), x)
    inputs = view.input(points)
    assert Half(UNIT).admits(x, inputs).all()
    assert (np.abs(inputs - x) <= np.abs(points - x)).all()
    assert (np.abs(inputs - points) <= np.abs(np.spacing(points.astype(np.float16)).astype(np.float32))).all()
    assert not Half(UNIT).admits(x, points).any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_what_is_found_is_held_by_float16(norm):
    classifier = Affine((6,), 3, seed=1, domain=UNIT)
    examples = slice_of(classifier, 12)
    x = in_half(np, examples.x)
    y = classifier.scores(x).argmax(axis=1)
    examples = type(examples)(examples.index, x, y, examples.right)
    stage = Stage("minimal", {"Linf": "minimal-apgd", "L2": "ddn"}[norm], norm, {"steps": 60})
    best = run([stage], examples, classifier, space=Half(UNIT)).best[norm]
    plain = run([stage], examples, classifier).best[norm]
    found = np.isfinite(best.distance)
    assert np.array_equal(found, np.isfinite(plain.distance))
    assert Half(UNIT).admits(x, best.x_adv)[found].all()
    assert (best.distance[found] <= plain.distance[found] + 2e-3).all()
