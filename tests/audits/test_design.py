"""Shares and intervals of examples that have weights or come in groups."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.audits.design import Alike, Surveyed, design_of
from auditor.audits.gates import robust_gate
from auditor.audits.outcomes import Outcomes
from auditor.audits.paired import Counts, Loss
from auditor.audits.statistics import clopper_pearson, mcnemar, net_loss_limits
from auditor.audits.summary import clean, curve
from auditor.spec import Gate, Threat

GRID = Threat(norm="Linf", eps=("0.1", "0.2"))


def outcomes(distance):
    distance = np.array(distance, np.float64)
    n, attack = len(distance), np.where(np.isfinite(distance) & (distance > 0), "apgd", "")
    return Outcomes(GRID, np.arange(n), distance > 0, distance, attack, np.ones(n, bool))


def films(rng, groups, members, share, correlation):
    """Right or wrong of films whose frames are alike: (n,) bool and (n,) the film. correlation: between two frames of one."""
    lengths = rng.integers(1, 2 * members, groups)
    of_film = rng.beta(share * (1 / correlation - 1), (1 - share) * (1 / correlation - 1), groups)
    film = np.repeat(np.arange(groups), lengths)
    return rng.random(len(film)) < of_film[film], film


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0.1, 10))
def test_equal_weights_and_groups_of_one_change_no_bit(holds, weight):
    holds, n = np.array(holds), len(holds)
    design = design_of(np.full(n, weight), np.array([f"film {i}" for i in range(n)]), n)
    assert clean(holds, design).model_dump_json() == clean(holds).model_dump_json()
    assert clean(holds).interval == clopper_pearson(int(holds.sum()), n)
    found = outcomes(np.where(holds, np.inf, 0.15))
    assert curve(found, design).model_dump_json() == curve(found).model_dump_json()
    assert "effective_size" not in curve(found).model_dump_json()


@given(st.integers(2, 60), st.integers(1, 59))
def test_where_nothing_is_to_be_corrected_the_estimate_is_the_exact_interval(n, k):
    """The estimate itself, which such examples are spared, comes to the same."""
    holds = np.arange(n) < min(k, n)
    surveyed = Surveyed(np.ones(n), np.arange(n))
    assert surveyed.effective(holds.astype(float)) == pytest.approx(n)
    assert (surveyed.lower(holds), surveyed.upper(holds)) == pytest.approx(clopper_pearson(int(holds.sum()), n))


@pytest.mark.parametrize(("groups", "share", "correlation"), [(25, 0.7, 0.5), (60, 0.9, 0.3), (60, 0.5, 0.9)])
def test_intervals_cover_what_examples_in_groups_would_hide(groups, share, correlation):
    rng = np.random.default_rng(1)
    covered = naive = 0
    for _ in range(400):
        holds, film = films(rng, groups, 8, share, correlation)
        design = design_of(None, film, len(film))
        covered += design.lower(holds) <= share <= design.upper(holds)
        lower, upper = clopper_pearson(int(holds.sum()), len(holds))
        naive += lower <= share <= upper
    assert covered / 400 >= 0.93
    assert naive / 400 < 0.8


def test_intervals_cover_what_is_weighted():
    """Two kinds of examples, of which the rare one is drawn three times too often."""
    rng = np.random.default_rng(2)
    truth, covered = 0.75 * 0.9 + 0.25 * 0.3, 0
    for _ in range(400):
        rare = rng.random(150) < 0.5
        holds = rng.random(150) < np.where(rare, 0.3, 0.9)
        design = design_of(np.where(rare, 1.0, 3.0), None, 150)
        covered += design.lower(holds) <= truth <= design.upper(holds)
    assert covered / 400 >= 0.93


def test_a_whole_number_as_weight_counts_like_so_many_copies():
    holds, weight = np.array([True, False, True, True]), np.array([3, 1, 2, 4])
    copies = np.repeat(holds, weight)
    design = design_of(weight, None, 4)
    assert design.share(holds) == pytest.approx(copies.mean())
    assert design.median(np.array([0.1, 0.2, 0.3, 0.4])) == np.sort(np.repeat([0.1, 0.2, 0.3, 0.4], weight))[4]


def test_copies_in_one_group_tell_no_more_than_the_example_itself():
    once = np.arange(40) % 4 > 0
    many = design_of(None, np.repeat(np.arange(40), 10), 400)
    lower, upper = many.lower(np.repeat(once, 10)), many.upper(np.repeat(once, 10))
    assert (lower, upper) == pytest.approx(clopper_pearson(30, 40), abs=0.01)
    assert many.effective(np.repeat(once, 10).astype(float)) == pytest.approx(40, rel=0.1)


def test_where_all_stand_each_group_counts_once():
    design = design_of(None, np.repeat(np.arange(10), 50), 500)
    assert (design.lower(np.ones(500, bool)), design.upper(np.ones(500, bool))) == clopper_pearson(10, 10)


def test_a_single_group_says_nothing():
    design = design_of(None, np.zeros(50), 50)
    holds = np.arange(50) < 25
    assert (design.lower(holds), design.upper(holds)) == (0.0, 1.0)
    assert design.mean_limits(holds.astype(float)) == (0.0, 1.0)
    assert design.median_interval(np.arange(50.0), np.arange(50.0)) == (0.0, math.inf)
    assert Counts.of(holds, ~holds, design).limits(0.05) == (-1.0, 1.0)


@given(st.integers(0, 2**32 - 1))
def test_limits_enclose_the_share_and_no_more_is_told_than_there_are_examples(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 80))
    design = design_of(rng.lognormal(0, 1, n), rng.integers(0, max(2, n // 3), n), n)
    holds = rng.random(n) < rng.random()
    assert 0 <= design.lower(holds) <= design.share(holds) <= design.upper(holds) <= 1
    assert design.effective(holds.astype(float)) <= n * (1 + 1e-12)
    low, high = design.band(holds, holds, 5)
    assert low <= design.lower(holds)
    assert design.upper(holds) <= high
    some = design.rows(holds) if holds.any() else design
    assert some.share(np.ones(int(holds.sum()) or n, bool)) == 1.0


def test_a_curve_says_what_its_examples_are_worth():
    film = np.repeat(np.arange(30), 5)
    distance = np.where(film % 3 == 0, 0.15, np.inf)
    made = curve(outcomes(distance), design_of(None, film, 150))
    point = made.points[1]
    assert point.robust_accuracy == pytest.approx(2 / 3)
    assert point.effective_size == pytest.approx(30, rel=0.1)
    lower, upper = clopper_pearson(100, 150)
    assert point.band[0] < point.interval[0] < lower < upper < point.interval[1] < point.band[1]
    assert made.median_distance.value is None
    assert '"effective_size":' in made.model_dump_json()


def test_a_gate_says_what_its_limit_rests_on():
    film = np.repeat(np.arange(30), 5)
    found = outcomes(np.full(150, np.inf))
    gate = Gate.parse("Linf:0.2=0.5")
    alike, grouped = (robust_gate(gate, [curve(found, d)], []) for d in (None, design_of(None, film, 150)))
    assert alike.message == "not broken: at least 97.6% (97.5 %) stand these attacks"
    assert grouped.message == (
        "not broken: at least 88.4% (about 97.5 %, as of 30 independent examples) stand these attacks"
    )


def test_paired_losses_are_as_sure_as_their_groups():
    film, rng = np.repeat(np.arange(40), 6), np.random.default_rng(3)
    first = outcomes(np.full(240, np.inf))
    lost = rng.random(40)[film] < 0.2
    second, every = outcomes(np.where(lost, 0.15, np.inf)), np.arange(240)
    alike = Loss.between(first, every, second, every, "0.2")
    grouped = Loss.between(first, every, second, every, "0.2", design_of(None, film, 240))
    assert grouped.observed == alike.observed == (int(lost.sum()), 0)
    assert grouped.net == pytest.approx(alike.net)
    assert grouped.limits()[0] < alike.limits()[0] < alike.net < alike.limits()[1] < grouped.limits()[1]
    assert alike.limits() == pytest.approx(net_loss_limits(int(lost.sum()), 0, 240))
    assert alike.mcnemar_p == mcnemar(int(lost.sum()), 0)
    assert alike.mcnemar_p < grouped.mcnemar_p < 0.05
    weight = np.where(lost, 0.5, 2.0)
    weighted = Loss.between(first, every, second, every, "0.2", design_of(weight, film, 240))
    assert weighted.net == pytest.approx(weight[lost].sum() / weight.sum())


def test_examples_that_are_alike_are_counted():
    assert design_of(None, None, 7) == Alike(7)
    assert Alike(7).rows(np.array([True] * 3 + [False] * 4)) == Alike(3)
    assert Alike(7).rows(np.array([1, 5])) == Alike(2)
