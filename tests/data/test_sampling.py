import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.data.sampling import sample


def test_the_sample_of_a_seed_never_changes():
    assert sample(1000, 5, seed=0).tolist() == [998, 162, 670, 664, 185]


@given(st.integers(1, 500), st.integers(1, 600), st.integers(0, 2**64 - 1))
def test_a_sample_holds_distinct_positions(size, examples, seed):
    index = sample(size, examples, seed)
    assert index.dtype == np.int64
    assert len(index) == min(size, examples)
    assert len(np.unique(index)) == len(index)
    assert index.min() >= 0
    assert index.max() < size


def test_all_examples_are_taken_when_fewer_exist_than_asked_for():
    assert sorted(sample(7, 10, seed=3).tolist()) == list(range(7))


@pytest.mark.parametrize("larger", [1000, 5000, 9000])
def test_a_larger_sample_begins_with_the_smaller_one_of_the_same_seed(larger):
    assert sample(5000, larger, seed=11)[:100].tolist() == sample(5000, 100, seed=11).tolist()


def test_every_part_of_a_sample_is_a_random_one():
    halves = np.array([sample(20, 20, seed)[:10] for seed in range(2000)])
    assert np.bincount(halves.ravel()) == pytest.approx(1000, abs=5 * np.sqrt(2000 * 0.25))


def test_another_seed_draws_another_sample():
    assert sample(5000, 100, seed=1).tolist() != sample(5000, 100, seed=2).tolist()


def test_every_position_is_drawn_equally_often():
    drawn = np.zeros(20)
    for seed in range(2000):
        drawn[sample(20, 5, seed)] += 1
    assert drawn == pytest.approx(500, abs=5 * np.sqrt(2000 * 0.25 * 0.75))
