"""The pieces that descents share."""

import numpy as np
import pytest

from auditor.attacks.adam import Adam
from auditor.attacks.weight import Weight


def test_adams_direction_is_that_of_the_paper():
    adam, g = Adam(np, np.zeros((1, 2), np.float32)), np.array([[3.0, -0.5]], np.float32)
    assert adam.direction(g) == pytest.approx(np.sign(g), rel=1e-5)
    mean = (0.9 * 0.1 * g - 0.1 * g) / (1 - 0.9**2)
    square = (0.999 * 0.001 * g**2 + 0.001 * g**2) / (1 - 0.999**2)
    assert adam.direction(-g) == pytest.approx(mean / np.sqrt(square), rel=1e-3)


def test_a_gradient_that_is_not_finite_moves_nothing():
    adam = Adam(np, np.zeros((1, 2), np.float32))
    assert adam.direction(np.array([[np.nan, np.inf]], np.float32)).tolist() == [[0, 0]]


def test_a_weight_grows_by_ten_until_it_breaks_and_is_then_bisected():
    enough, weight = np.array([0.3, 7.0, 450.0]), Weight(np, np.ones(3))
    tried = []
    for _ in range(12):
        tried.append(weight.value)
        weight.update(weight.value >= enough)
    assert np.stack(tried)[:4, 1:].tolist() == [[1, 1], [10, 10], [5.5, 100], [7.75, 1000]]
    assert weight.value == pytest.approx(enough, rel=0.02)
