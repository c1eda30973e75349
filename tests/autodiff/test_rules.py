"""Rules of arithmetic, activations, normalisations, reductions and indexing, against central differences."""

import pytest

from tests.autodiff.oracle import Case, cases, check


@pytest.mark.parametrize("case", cases("Add", "Sub", "Mul"))
def test_arithmetic_agrees_with_differences(case: Case) -> None:
    check(case)
