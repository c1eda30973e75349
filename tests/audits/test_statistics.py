"""Intervals against published values, closed forms and simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.audits.statistics import (
    clopper_pearson,
    dkw_margin,
    holm_adjusted,
    holm_levels,
    lower_limit,
    mcnemar,
    median,
    median_interval,
    median_ranks,
    net_loss_limits,
    net_loss_z,
    sign_test,
    upper_limit,
)

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
paired = st.integers(1, 200).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda lost: st.tuples(st.just(lost), st.integers(0, n - lost), st.just(n)))
)


def test_clopper_pearson_has_its_closed_form_where_nothing_or_all_succeeds():
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1), 1.0)


@pytest.mark.parametrize(("k", "n"), [(1, 3), (10, 20), (81, 263), (999, 1000)])
def test_clopper_pearson_agrees_with_scipys_exact_interval(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_gives_the_interval_published_for_81_of_263():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)


@given(counts)
def test_clopper_pearson_contains_the_estimate(case):
    k, n = case
    lower, upper = clopper_pearson(k, n)
    assert 0 <= lower <= k / n <= upper <= 1


@pytest.mark.parametrize("p", [0.005, 0.1, 0.5, 0.93])
def test_each_clopper_pearson_limit_misses_at_most_its_share(p):
    n = 60
    k = np.arange(n + 1)
    chance = stats.binom.pmf(k, n, p)
    assert chance[[lower_limit(i, n) > p for i in k]].sum() <= 0.025
    assert chance[[upper_limit(i, n) < p for i in k]].sum() <= 0.025


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_a_count_outside_its_total_is_refused(k, n):
    with pytest.raises(ValueError, match="not a count"):
        clopper_pearson(k, n)


def test_the_dkw_margin_is_massarts():
    assert dkw_margin(100) == pytest.approx(1.3581 / 10, abs=1e-5)
    assert dkw_margin(1) == 1.0


def test_the_dkw_band_holds_a_whole_curve_at_once():
    rng = np.random.default_rng(0)
    n = 200
    x = np.sort(rng.random((2000, n)), axis=1)
    rank = np.arange(1, n + 1) / n
    sup = np.maximum(np.abs(rank - x), np.abs(rank - 1 / n - x)).max(axis=1)
    missed = np.mean(sup > dkw_margin(n))
    assert 0.02 < missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize(("n", "ranks"), [(5, (0, 6)), (6, (1, 6)), (10, (2, 9)), (25, (8, 18)), (100, (40, 61))])
def test_median_ranks_are_those_of_the_published_tables(n, ranks):
    assert median_ranks(n) == ranks


def test_the_median_is_the_first_distance_within_which_half_lie():
    assert median(np.array([3.0, 1.0, 2.0])) == 2.0
    assert median(np.array([4.0, 1.0, 2.0, 3.0])) == 2.0
    assert median(np.array([np.inf, 1.0, np.inf])) == np.inf


def test_the_median_interval_covers_the_median_of_a_skewed_distribution():
    x = np.random.default_rng(1).exponential(size=(1000, 41))
    covered = [lower <= math.log(2) <= upper for lower, upper in (median_interval(row, row) for row in x)]
    assert np.mean(covered) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 1000)


def test_too_few_distances_leave_the_median_open():
    assert median_interval(np.ones(5), np.ones(5)) == (0.0, math.inf)


def test_tangos_interval_is_the_published_one():
    # Fagerland, Lydersen & Laake 2014, table on airway hyper-responsiveness: 1 and 7 discordant pairs of 21
    assert net_loss_limits(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tangos_interval_without_discordant_pairs_has_its_closed_form():
    z2 = stats.norm.isf(0.025) ** 2
    assert net_loss_limits(0, 0, 44) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), abs=1e-9)


@given(paired)
def test_tangos_interval_contains_the_estimate_and_turns_with_its_counts(case):
    lost, gained, n = case
    lower, upper = net_loss_limits(lost, gained, n)
    assert -1 <= lower <= (lost - gained) / n <= upper <= 1
    assert net_loss_limits(gained, lost, n) == pytest.approx((-upper, -lower), abs=1e-9)


@given(paired)
def test_tangos_limits_are_where_the_statistic_reaches_its_quantile(case):
    lost, gained, n = case
    lower, upper = net_loss_limits(lost, gained, n, 0.1)
    z = stats.norm.isf(0.05)
    for limit, expected in ((lower, z), (upper, -z)):
        if abs(limit) < 1:
            assert net_loss_z(lost, gained, n, limit) == pytest.approx(expected, abs=1e-4)


def test_tangos_interval_covers_at_nearly_its_level():
    n = 30
    cells = [(lost, gained) for lost in range(n + 1) for gained in range(n + 1 - lost)]
    limits = np.array([net_loss_limits(*cell, n) for cell in cells])
    rows = np.array([(*cell, n - sum(cell)) for cell in cells])
    for p, q in [(0.05, 0.05), (0.1, 0.02), (0.3, 0.1), (0.02, 0.0)]:
        chance = stats.multinomial.pmf(rows, n, [p, q, 1 - p - q])
        covered = (limits[:, 0] <= p - q + 1e-9) & (limits[:, 1] >= p - q - 1e-9)
        assert chance[covered].sum() >= 0.935


def test_mcnemar_is_an_exact_sign_test_of_the_discordant_pairs():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)


def test_holm_rejects_in_steps():
    # Holm at 0.05: 0.01 <= 0.05/4, 0.015 <= 0.05/3, 0.03 > 0.05/2, so that 0.04 is not tried at 0.05
    p = np.array([0.04, 0.01, 0.03, 0.015])
    levels = holm_levels(p, 0.05)
    assert levels == pytest.approx([0.025, 0.0125, 0.025, 0.05 / 3])
    assert (p <= levels).tolist() == [False, True, False, True]


def test_holm_leaves_a_single_hypothesis_its_whole_level():
    assert holm_levels(np.array([0.5]), 0.025).tolist() == [0.025]


@pytest.mark.parametrize(("more", "less"), [(0, 5), (1, 0), (3, 2), (9, 1), (40, 17)])
def test_a_sign_test_counts_the_coin_flips_that_do_as_well(more, less):
    n = more + less
    assert sign_test(more, less) == pytest.approx(sum(math.comb(n, k) for k in range(more, n + 1)) / 2**n)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.5))
def test_adjusted_values_are_below_the_level_exactly_where_holm_rejects(p, alpha):
    p = np.array(p)
    adjusted = holm_adjusted(p)
    surely = np.abs(adjusted - alpha) > 1e-9  # where rounding does not decide
    assert ((adjusted <= alpha) == (p <= holm_levels(p, alpha)))[surely].all()
