"""Datasets whose values are whole levels."""

import numpy as np
import pytest

from auditor.data.domain import level_values
from auditor.data.levels import on_levels
from auditor.data.read import read_dataset
from auditor.errors import DatasetError, SpecError


def dataset(tmp_path, x, domain=(0.0, 1.0)):
    np.savez(tmp_path / "d.npz", x=x)
    return read_dataset(tmp_path / "d.npz", domain=domain)


def everything(dataset):
    return dataset.fetch(np.arange(dataset.size))


def test_bytes_are_on_their_levels_already(tmp_path):
    whole = dataset(tmp_path, np.arange(256, dtype=np.uint8).reshape(4, 64))
    np.testing.assert_array_equal(everything(on_levels(whole, 8)), everything(whole))


def test_rounding_is_taken_away(tmp_path):
    exact = level_values((0.0, 1.0)).reshape(4, 64)
    off = np.clip(exact * np.float32(1 + 3e-7), 0, 1)
    assert not np.array_equal(off, exact)
    np.testing.assert_array_equal(everything(on_levels(dataset(tmp_path, off), 8)), exact)


def test_the_levels_are_those_of_the_domain(tmp_path):
    x = np.array([[-2.0, 0.0, 2.0, 4.0]], np.float32)
    np.testing.assert_array_equal(everything(on_levels(dataset(tmp_path, x, (-2.0, 4.0)), 2)), x)


def test_a_value_between_two_levels_is_refused_by_its_position(tmp_path):
    x = np.zeros((5, 3), np.float32)
    x[3, 1] = 0.5
    levelled = on_levels(dataset(tmp_path, x), 8)
    assert levelled.fetch(np.array([0, 1])).shape == (2, 3)
    with pytest.raises(DatasetError, match=r"position 3 holds 0\.5, which is none of the 256 levels"):
        levelled.fetch(np.array([2, 3]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0])
def test_what_is_wrong_without_levels_is_wrong_with_them(tmp_path, bad):
    x = np.zeros((2, 3), np.float32)
    x[1, 1] = bad
    with pytest.raises(DatasetError, match=r"NaN or infinite|outside the domain"):
        everything(on_levels(dataset(tmp_path, x), 8))


def test_levels_need_a_domain_in_which_float32_tells_them_apart(tmp_path):
    with pytest.raises(SpecError, match="--domain"):
        on_levels(dataset(tmp_path, np.zeros((2, 3), np.float32), None), 8)
    with pytest.raises(SpecError, match="apart"):
        on_levels(dataset(tmp_path, np.full((2, 3), 1000, np.float32), (1000.0, 1000.01)), 8)


def test_the_report_learns_of_it(tmp_path):
    levelled = on_levels(dataset(tmp_path, np.zeros((2, 3), np.uint8)), 8)
    assert levelled.preprocessing["steps"][-1] == {"step": "quantize", "levels": 256}
