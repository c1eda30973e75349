"""Declared constraints: what is refused, and exactly which rows keep them."""

import numpy as np
import pytest
from pydantic import ValidationError

from auditor.constraints import Constraints
from auditor.data.constrained import constrained, rules_of
from auditor.data.read import read_dataset
from auditor.data.rules import Rules
from auditor.errors import DatasetError, SpecError

NAMES = ("age", "debt", "income", "a", "b")


def rules(names=NAMES, domain=None, **declared):
    return Rules.of(Constraints(**declared), names, domain)


def row(age=30, debt=1, income=2, a=1, b=0):
    return np.array([age, debt, income, a, b], np.float32)


JOB = {"job": {"columns": ["a", "b"]}}
WITHIN = [{"terms": {"debt": 1, "income": -1}, "at_most": 0}]


@pytest.mark.parametrize(
    ("declared", "bad", "why"),
    [
        ({"features": {"age": {"range": (18, 99)}}}, {"age": 17}, "age is 17, outside 18 to 99"),
        ({"features": {"age": {"range": (None, 99)}}}, {"age": 100}, "outside -inf to 99"),
        ({"features": {"age": {"integer": True}}}, {"age": 30.5}, "age is 30.5, no multiple of 1"),
        ({"features": {"1": {"step": 0.05}}}, {"debt": 0.06}, "debt is 0.06, no multiple of 0.05"),
        ({"groups": JOB}, {"b": 1}, "the columns of job are not one 1 among zeros"),
        ({"groups": JOB}, {"a": 0.5, "b": 0.5}, "the columns of job"),
        ({"relations": WITHIN}, {"debt": 3}, "1 debt + -1 income <= 0 does not hold"),
        ({"features": {"age": {}}}, {"debt": np.nan}, "debt is nan"),
    ],
)
def test_a_row_that_does_not_exist_says_why(declared, bad, why):
    assert rules(**declared).broken(row()) is None
    assert why in rules(**declared).broken(row(**bad))


@pytest.mark.parametrize(
    ("declared", "change", "admitted"),
    [
        ({"features": {"age": {"immutable": True}}}, {"age": 31}, False),
        ({"features": {"age": {"immutable": True}}}, {"debt": 2}, True),
        ({"features": {"age": {"direction": "up"}}}, {"age": 31}, True),
        ({"features": {"age": {"direction": "up"}}}, {"age": 29}, False),
        ({"features": {"age": {"direction": "down"}}}, {"age": 31}, False),
        ({"groups": JOB}, {"a": 0, "b": 1}, True),
        ({"groups": {"job": {"columns": ["a", "b"], "immutable": True}}}, {"a": 0, "b": 1}, False),
        ({"features": {"age": {"range": (18, 99)}}}, {"age": 100}, False),
    ],
)
def test_what_may_take_the_place_of_a_row(declared, change, admitted):
    assert rules(**declared).admits(row(), row(**change)) is admitted


def test_numbers_of_a_declaration_are_float32_as_the_data_are():
    """0.1 is larger in float32 than in float64, and no multiple of a float64 0.05."""
    fine = rules(features={"debt": {"range": (0, 0.1), "step": 0.05}})
    assert fine.broken(row(debt=0.1)) is None
    assert fine.broken(row(debt=np.nextafter(np.float32(0.1), np.float32(1)))) is not None


def test_relations_are_summed_without_rounding():
    """In float64 the small term is lost beside the large one."""
    tight = rules(relations=[{"terms": {"debt": 1e17, "income": 1}, "at_most": 1e17}])
    assert tight.broken(row(debt=1, income=0)) is None
    assert tight.broken(row(debt=1, income=1e-3)) is not None


def test_the_scale_is_what_was_said_else_the_width_of_the_range_else_of_the_domain():
    declared = {"age": {"range": (18, 98)}, "debt": {"range": (0, 10), "scale": 2}, "income": {"range": (0, None)}}
    assert list(map(float, rules(features=declared).scale)) == [80, 2, 1, 1, 1]
    assert list(map(float, rules(features=declared, domain=(-100.0, 100.0)).scale)) == [80, 2, 200, 200, 200]


def test_a_range_does_not_reach_out_of_the_domain():
    inside = rules(features={"age": {"range": (18, 500)}}, domain=(0.0, 100.0))
    assert (inside.lower[0], inside.upper[0], inside.upper[1]) == (18, 100, 100)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, "no constraint is declared"),
        ({"features": {"age": {"range": (9, 1)}}}, "range 9 to 1 is empty"),
        ({"features": {"age": {"integer": True, "step": 2}}}, "give one of the two"),
        ({"features": {"age": {"step": 0}}}, "above 0"),
        ({"features": {"age": {"scale": -1}}}, "above 0"),
        ({"features": {"age": {"limit": 3}}}, "limit"),
        ({"features": {"age": {"direction": "sideways"}}}, "'up' or 'down'"),
        ({"groups": {"job": {"columns": ["a"]}}}, "at least 2"),
        ({"groups": {"job": {"columns": ["a", "b"]}, "town": {"columns": ["b", "c"]}}}, "column b belongs to"),
        ({"features": {"a": {}}, "groups": {"job": {"columns": ["a", "b"]}}}, "column a belongs to"),
        ({"relations": [{"terms": {"a": float("nan")}, "at_most": 0}]}, "finite"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declared, words):
    with pytest.raises((ValidationError, SpecError), match=words):
        Constraints(**declared)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"features": {"weight": {}}}, "'weight'; the data have 5: age, debt, income, a, b"),
        ({"features": {"7": {}}}, "'7'"),
        ({"features": {"age": {}, "0": {}}}, "a column twice"),
        ({"groups": {"job": {"columns": ["a", "3"]}}}, "named twice"),
    ],
)
def test_columns_that_the_data_do_not_have_are_refused(declared, words):
    with pytest.raises(SpecError, match=words):
        rules(**declared)


def test_a_table_goes_by_its_header_and_its_examples_must_keep_the_rules(tmp_path):
    (tmp_path / "d.csv").write_text("age,label,kind_a,kind_b\n20,0,1,0\n30,1,0,1\n40,0,1,1\n")
    dataset = read_dataset(tmp_path / "d.csv", domain=None)
    declared = Constraints(features={"age": {"integer": True}}, groups={"kind": {"columns": ("kind_a", "kind_b")}})
    kept = constrained(dataset, rules_of(dataset, declared))
    assert kept.fetch(np.array([0, 1])).shape == (2, 3)
    with pytest.raises(DatasetError, match="position 2 does not keep the declared constraints: the columns of kind"):
        kept.fetch(np.array([1, 2]))


def test_arrays_go_by_position(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 1, 4), np.float32))
    dataset = read_dataset(tmp_path / "d.npz", domain=(0.0, 1.0))
    found = rules_of(dataset, Constraints(features={"3": {"immutable": True}}))
    assert found.fixed.tolist() == [False, False, False, True]
