"""Outcomes and the curves made of them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.audits.outcomes import Outcomes, Status, at_least, at_most, example_digests
from auditor.audits.statistics import clopper_pearson, lower_limit, upper_limit
from auditor.audits.summary import clean, curve, outcomes_of
from auditor.spec import Threat, exact

GRID = Threat(norm="Linf", eps=("1/255", "2/255", "8/255"))


def make(distance, *, right=None, complete=None, radius=None, threat=GRID):
    distance = np.array(distance, np.float64)
    n = len(distance)
    right = distance > 0 if right is None else np.array(right, bool)
    return Outcomes(
        threat=threat,
        index=np.arange(n) * 10,
        right=right,
        distance=distance,
        attack=np.where(np.isfinite(distance) & right, "apgd", ""),
        complete=np.ones(n, bool) if complete is None else np.array(complete, bool),
        certified_radius=None if radius is None else np.array(radius, np.float64),
    )


@st.composite
def outcomes(draw):
    n = draw(st.integers(1, 40))
    distances = st.one_of(st.just(0.0), st.just(np.inf), st.floats(1e-6, 0.1))
    distance = draw(st.lists(distances, min_size=n, max_size=n))
    complete = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    radius = draw(st.none() | st.lists(st.floats(0, 0.05), min_size=n, max_size=n))
    return make(distance, complete=complete, radius=radius)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(-1, 1))
def test_distances_are_compared_with_the_rational_eps_exactly(top, bottom, step):
    eps = f"{top}/{bottom}"
    distance = float(exact(eps))
    distance = distance if step == 0 else float(np.nextafter(distance, np.inf * step))
    assert (distance <= at_most(eps)) == (Fraction(distance) <= exact(eps))
    assert (distance >= at_least(eps)) == (Fraction(distance) >= exact(eps))


def test_a_point_exactly_at_eps_breaks_and_the_next_float_does_not():
    # the float64 nearest to a tenth lies above it, 0.25 is exact
    assert Fraction(0.1) > Fraction(1, 10)
    on_grid = Threat(norm="Linf", eps=("0.1", "0.25"))
    found = make([0.1, 0.25, np.nextafter(0.25, 1)], threat=on_grid)
    assert found.standing("0.1").tolist() == [True, True, True]
    assert found.standing("0.25").tolist() == [False, False, True]


def test_robust_accuracy_is_a_share_of_all_examples():
    points = curve(make([0.0, 0.005, 0.02, np.inf])).points
    assert [p.robust_accuracy for p in points] == [0.75, 0.5, 0.25]
    assert [p.broken_by for p in points] == [{}, {"apgd": 1}, {"apgd": 2}]
    assert points[0].interval == clopper_pearson(3, 4)


def test_unfinished_examples_widen_the_interval_and_never_shrink_the_denominator():
    point = curve(make([0.001, np.inf, np.inf, np.inf], complete=[True, True, False, False])).points[-1]
    assert point.robust_accuracy == 0.75
    assert point.interval == (lower_limit(1, 4), upper_limit(3, 4))
    assert point.unfinished == 2


def test_an_unfinished_example_that_is_broken_at_eps_is_no_bound_there():
    found = make([0.005, np.inf], complete=[False, True])
    assert [p.unfinished for p in curve(found).points] == [1, 0, 0]


def test_the_true_interval_reaches_from_certified_to_standing():
    found = make([np.inf, np.inf, 0.02, 0.0], radius=[0.05, 0.005, 0.001, 0.0])
    points = curve(found).points
    assert [p.certified_accuracy for p in points] == [0.5, 0.25, 0.25]
    assert points[1].true_interval == (lower_limit(1, 4), upper_limit(3, 4))


def test_without_certificates_certified_accuracy_is_unknown():
    point = curve(make([np.inf] * 50)).points[0]
    assert point.certified_accuracy is None
    assert point.true_interval[0] == 0.0


def test_a_certificate_that_a_found_point_contradicts_is_dropped():
    found = make([0.006, np.inf], radius=[0.01, 0.01])
    assert found.certified("1/255").tolist() == [False, True]


def test_statuses_say_the_first_thing_that_applies():
    found = make(
        [0.0, 0.5, np.inf, np.inf, np.inf, np.inf],
        complete=[True, False, True, False, False, True],
        radius=[0.0, 0.0, 0.1, 0.1, 0.001, 0.001],
    )
    assert found.statuses() == [
        Status.WRONG,
        Status.BROKEN,  # beyond the largest eps, and known all the same
        Status.CERTIFIED,
        Status.CERTIFIED,  # a proof needs no attack to finish
        Status.NOT_TRIED,
        Status.SURVIVED,
    ]


@given(outcomes())
def test_curves_fall_and_every_interval_holds_its_estimate(found):
    points = curve(found).points
    accuracies = [p.robust_accuracy for p in points]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] <= clean(found.right).accuracy
    for p in points:
        assert p.interval[0] <= p.robust_accuracy <= p.interval[1]
        assert p.band[0] <= p.robust_accuracy <= p.band[1]
        assert p.true_interval[0] <= (p.certified_accuracy or 0) <= p.robust_accuracy <= p.true_interval[1]
        assert p.true_interval[0] <= p.interval[0]
        assert sum(p.broken_by.values()) == found.right.sum() - found.standing(p.eps).sum()


@given(outcomes())
def test_a_curve_holds_all_that_its_figures_were_made_of(found):
    assert curve(outcomes_of(curve(found))) == curve(found)


def test_the_median_distance_counts_wrong_examples_as_zero():
    known = curve(make([0.0] * 10 + [0.01] * 10 + [0.02] * 11)).median_distance
    assert known.value == 0.01
    assert known.interval == (0.0, 0.02)


def test_a_median_beyond_every_found_distance_is_null():
    known = curve(make([0.01] * 2 + [np.inf] * 18)).median_distance
    assert (known.value, known.interval) == (None, (None, None))


def test_unfinished_examples_may_lie_nearer_in_the_median():
    found = [0.03] * 20
    assert curve(make(found, complete=[False] * 20)).median_distance.interval == (0.0, 0.03)
    assert curve(make(found)).median_distance.interval == (0.03, 0.03)


def test_a_largest_eps_that_breaks_nothing_is_remarked_on():
    assert "breaks nothing" in curve(make([0.5, np.inf])).remarks[0]
    assert curve(make([0.01, np.inf])).remarks == []


def test_an_eps_below_one_grey_level_is_remarked_on_for_images_of_levels():
    found = make([0.001], threat=Threat(norm="Linf", eps=("0.5/255", "1/255")))
    assert "0.5/255" in curve(found, grey_levels=255).remarks[0]
    assert curve(found).remarks == []


def test_clean_accuracy_comes_with_its_interval():
    section = clean(np.array([True] * 9 + [False]))
    assert (section.correct, section.total, section.accuracy) == (9, 10, 0.9)
    assert section.interval == clopper_pearson(9, 10)


def test_columns_of_other_lengths_and_distances_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="complete has shape"):
        make([0.1, 0.2], complete=[True])
    with pytest.raises(ValueError, match="wrong when clean"):
        make([0.1, 0.2], right=[True, False])
    with pytest.raises(ValueError, match="distances"):
        make([np.nan])


def test_digests_tell_inputs_labels_and_shapes_apart():
    x = np.zeros((4, 2, 3), np.float32)
    x[1, 0, 0] = 1e-7
    a, b, c, d = example_digests(x, np.array([0, 0, 1, 0]))
    assert len({a, b, c}) == 3
    assert a == d
    assert example_digests(x.reshape(4, 3, 2), np.zeros(4, int))[0] != a
    assert example_digests(x.astype(np.float64), np.zeros(4, int))[0] == a
