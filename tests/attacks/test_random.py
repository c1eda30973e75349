import numpy as np
import pytest

from auditor.attacks.random import Random, _philox

# Known answers of Random123, the library of Salmon et al. 2011: counter, key, output.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, output):
    even, odd = (np.array(counter[k::2], dtype=np.uint64).reshape(2, 1) for k in range(2))
    even, odd = _philox(np, even, odd, (key[0], key[1]))
    assert [int(even[0, 0]), int(odd[0, 0]), int(even[1, 0]), int(odd[1, 0])] == output


def test_an_examples_numbers_do_not_depend_on_its_neighbours():
    together = Random.keyed(np, 7, "stage", np.arange(10))
    alone = Random.keyed(np, 7, "stage", np.array([4]))
    for draw in ("uniform", "normal", "bell"):
        many = getattr(together, draw)(3, (5, 2))
        assert np.array_equal(many[4:5], getattr(alone, draw)(3, (5, 2)))


def test_streams_differ_by_seed_stage_example_step_and_split():
    base = Random.keyed(np, 0, "a", np.arange(2))
    draws = [
        base.uniform(0, (8,)),
        base.uniform(1, (8,)),
        base.split("b").uniform(0, (8,)),
        Random.keyed(np, 1, "a", np.arange(2)).uniform(0, (8,)),
        Random.keyed(np, 0, "b", np.arange(2)).uniform(0, (8,)),
        Random.keyed(np, 0, "a", np.arange(2) + 2**32).uniform(0, (8,)),
    ]
    rows = np.concatenate(draws)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_numbers_have_the_moments_of_their_distribution():
    rng = Random.keyed(np, 0, "moments", np.arange(4))
    uniform = rng.uniform(0, (20_000,))
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.005
    for values in (rng.normal(1, (20_000,)), rng.bell(1, (20_000,)), rng.coarse(1, (20_000,))):
        assert abs(values.mean()) < 0.02
        assert abs(values.std() - 1) < 0.02


def test_coarse_numbers_are_the_halves_of_the_integers_bytes():
    rng = Random.keyed(np, 0, "bytes", np.arange(3))
    octets = rng.integers(2, 1).astype("<u4").view(np.uint8)
    halves = np.concatenate([octets & 15, octets >> 4], axis=1)[:, :7]
    assert rng.coarse(2, (7,)) == pytest.approx((halves - 7.5) / np.sqrt((16**2 - 1) / 12))
    assert rng.coarse(2, (2, 3)).shape == (3, 2, 3)
