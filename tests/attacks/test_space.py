"""How far apart two inputs lie."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auditor.attacks.space import Space, in_widths


def test_distances_are_those_of_the_norms():
    x, x_adv = np.zeros((1, 2, 2), np.float32), np.array([[[3, 0], [0, -4]]], np.float32)
    assert {norm: found[0] for norm, found in Space((0.0, 1.0)).distances(x, x_adv).items()} == {
        "Linf": 4.0,
        "L2": 5.0,
        "L1": 7.0,
        "L0": 2.0,
    }
    assert {norm: found[0] for norm, found in Space((0.0, 2.0)).distances(x, x_adv).items()} == {
        "Linf": 2.0,
        "L2": 2.5,
        "L1": 3.5,
        "L0": 2.0,
    }


levels = st.integers(0, 255)
widths = st.sampled_from([255.0, 3.0, 0.1, 2.64 + 2.1179, 4.7, 1e-3, 1.0])


@given(st.lists(st.tuples(levels, levels), min_size=1, max_size=6), widths)
def test_distances_in_widths_are_never_rounded_down_and_at_most_by_one_unit_up(pairs, width):
    a, b = (np.array([column], np.float32) for column in zip(*pairs, strict=True))
    gaps = [abs(Fraction(int(p)) - int(q)) for p, q in pairs]
    for norm, exact in (("Linf", max(gaps)), ("L1", sum(gaps))):
        found = Space((0.0, width)).distances(a, b)[norm][0]
        assert Fraction(found) * Fraction(width) >= exact
        assert Fraction(np.nextafter(np.nextafter(found, 0), 0)) * Fraction(width) < exact or exact == 0


@given(st.floats(1e-6, 1e6), widths)
def test_rounding_up_keeps_the_order(units, width):
    pair = in_widths(np.array([units, np.nextafter(units, np.inf)]), width)
    assert pair[0] <= pair[1]
