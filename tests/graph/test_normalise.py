import numpy as np
import pytest

from auditor.errors import SpecError
from auditor.graph.normalise import normalise
from auditor.spec import Normalisation

X = np.random.default_rng(0).random((2, 3, 4, 3), np.float32)
CHANNELS = Normalisation(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))


def test_without_normalisation_values_stay():
    assert np.array_equal(normalise(X, None, None), X)


@pytest.mark.parametrize(("layout", "axis"), [("NCHW", 1), ("NHWC", 3)])
def test_channels_lie_where_the_layout_says(layout, axis):
    y = normalise(X, CHANNELS, layout)
    assert y.dtype == np.float32
    for channel in range(3):
        part = np.take(X, channel, axis)
        expected = (part - np.float32(CHANNELS.mean[channel])) / np.float32(CHANNELS.std[channel])
        assert np.array_equal(np.take(y, channel, axis), expected)


def test_one_value_serves_every_channel():
    y = normalise(X, Normalisation(mean=(0.5,), std=(0.25,)), None)
    assert np.array_equal(y, (X - np.float32(0.5)) / np.float32(0.25))


def test_the_features_of_a_table_have_values_of_their_own():
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(normalise(x, CHANNELS, None)[0], np.array([0.9, 0.4, 0.175], np.float32))


@pytest.mark.parametrize(
    ("normalisation", "layout", "said"),
    [
        (CHANNELS, None, "give --layout"),
        (Normalisation(mean=(0.1, 0.2), std=(1.0,)), "NCHW", "2 values, but the input has 3 channels"),
        (Normalisation(mean=(0.0,), std=(0.0,)), "NCHW", "std above 0"),
        (Normalisation(mean=(float("nan"),), std=(1.0,)), "NCHW", "finite"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(normalisation, layout, said):
    with pytest.raises(SpecError, match=said):
        normalise(X, normalisation, layout)
