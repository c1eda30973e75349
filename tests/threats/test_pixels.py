"""Which examples are images, and the way from examples to grey levels and back."""

import numpy as np
import pytest

from auditor.errors import SpecError
from auditor.threats.pixels import Pixels


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((3, 32, 20), None, (3, 32, 20, 0)),
        ((32, 20, 3), None, (3, 32, 20, 2)),
        ((1, 28, 28), "NCHW", (1, 28, 28, 0)),
        ((3, 5, 3), "NHWC", (3, 3, 5, 2)),
    ],
)
def test_images_are_known_by_their_shape_and_layout(shape, layout, expected):
    found = Pixels.of(shape, layout, (0.0, 1.0))
    assert (found.channels, found.height, found.width, found.axis) == expected


@pytest.mark.parametrize(
    ("shape", "layout", "domain"),
    [((784,), None, (0, 1)), ((3, 32, 32), None, None), ((5, 9, 9), None, (0, 1)), ((4, 9, 9), "NCHW", (0, 1))],
)
def test_what_is_no_image_is_refused(shape, layout, domain):
    with pytest.raises(SpecError):
        Pixels.of(shape, layout, domain)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_the_way_there_and_back_is_exact_on_grey_levels(shape):
    pixels = Pixels.of(shape, None, (-1.0, 1.0))
    x = (np.arange(120).reshape(2, *shape) * 2 / 255 - 1).astype(np.float32)
    planes = pixels.planes(np, x)
    assert planes.shape == (2, 3, 4, 5)
    assert np.allclose(pixels.inputs(np, planes), x, atol=1e-7)
    assert pixels.inputs(np, planes + 2).max() == 1


def test_the_size_decides_which_parameters_are_taken():
    assert not Pixels.of((3, 64, 64), None, (0, 1)).large
    assert Pixels.of((3, 224, 224), None, (0, 1)).large
