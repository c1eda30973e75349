"""Warps: known moves, and an adjoint that is one."""

import numpy as np
import pytest

from auditor.attacks.transfer.blocks import shuffled
from auditor.attacks.transfer.warp import resized


def _resized(rng, n, h, w):
    return resized(np, rng(n).uniform(0, (4,)), h, w, chance=1.0, smallest=0.7)


def _shuffled(rng, n, h, w, degrees=24.0):
    return shuffled(np, rng(n), h, w, blocks=2, degrees=degrees)


@pytest.mark.parametrize("size", [(7, 7), (12, 5), (1, 9), (9, 1)])
@pytest.mark.parametrize("make", [_resized, _shuffled])
def test_the_pull_back_is_the_adjoint(make, size, rng):
    warp = make(rng, 6, *size)
    random = np.random.default_rng(0)
    x, g = (random.standard_normal((6, 3, *size)).astype(np.float32) for _ in range(2))
    there, back = warp.apply(x), warp.pull(g)
    assert np.abs(there).max() > 0
    assert np.sum(there * g, axis=(1, 2, 3)) == pytest.approx(np.sum(x * back, axis=(1, 2, 3)), abs=2e-4)


def test_without_a_chance_nothing_is_resized(rng):
    x = np.random.default_rng(1).random((4, 2, 6, 5)).astype(np.float32)
    warp = resized(np, rng(4).uniform(0, (4,)), 6, 5, chance=0.0, smallest=0.5)
    assert np.array_equal(warp.apply(x), x)
    assert np.array_equal(warp.pull(x), x)


def test_a_shrunk_image_lies_inside_and_keeps_its_mean_brightness(rng):
    warp = resized(np, np.array([[0, 0, 0.5, 0.5]], np.float32), 32, 32, chance=1.0, smallest=0.5)
    seen = warp.apply(np.ones((1, 1, 32, 32), np.float32))[0, 0]
    assert seen[:8].sum() == seen[:, :8].sum() == seen[24:].sum() == seen[:, 24:].sum() == 0
    assert seen[9:23, 9:23] == pytest.approx(1)


def test_blocks_that_do_not_turn_are_a_permutation_of_the_pixels(rng):
    x = np.arange(8 * 3 * 9 * 7, dtype=np.float32).reshape(8, 3, 9, 7)
    moved = _shuffled(rng, 8, 9, 7, degrees=0.0).apply(x)
    assert np.array_equal(np.sort(moved.reshape(8, 3, -1)), np.sort(x.reshape(8, 3, -1)))
    assert not np.array_equal(moved, x)


def test_each_row_has_its_own_warp(rng):
    x = np.repeat(np.random.default_rng(2).random((1, 1, 9, 9)).astype(np.float32), 5, axis=0)
    moved = _shuffled(rng, 5, 9, 9).apply(x)
    assert len({image.tobytes() for image in moved}) == 5
