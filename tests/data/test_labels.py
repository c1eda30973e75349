import numpy as np
import pytest

from auditor.data.labels import check_labels, integer_labels, named_labels, read_labels
from auditor.errors import DatasetError


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64", "bool"])
def test_whole_numbers_of_any_type_become_int64(dtype):
    y, names = integer_labels(np.array([1, 0, 1], dtype=dtype), "y.npy")
    assert y.dtype == np.int64
    assert y.tolist() == [1, 0, 1]
    assert names is None


def test_a_column_of_labels_is_flattened():
    assert integer_labels(np.array([[2], [0]]), "y.npy")[0].tolist() == [2, 0]


def test_names_are_numbered_in_sorted_order():
    y, names = integer_labels(np.array(["dog", "cat", "dog"]), "y.npy")
    assert y.tolist() == [1, 0, 1]
    assert names == ("cat", "dog")


def test_names_that_are_numbers_keep_their_value():
    y, names = named_labels(["10", "2", "0"])
    assert y.tolist() == [10, 2, 0]
    assert names is None


def test_a_given_class_list_decides_the_order():
    y, names = named_labels(["dog", "cat"], ["dog", "eel", "cat"])
    assert y.tolist() == [0, 2]
    assert names == ("dog", "eel", "cat")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 1.5, 2.5]), "the label 1.5 of example 1 is not an integer"),
        (np.array([0, np.nan]), "the label nan of example 1 is not an integer"),
        (np.eye(3), "one-hot labels.* store their argmax"),
        (np.array([1j]), "neither integers nor names"),
        (np.array(["cat", ""]), "label of example 1 is empty"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused(values, message):
    with pytest.raises(DatasetError, match=message):
        integer_labels(values, "y.npy")


def test_a_class_outside_the_list_is_named():
    with pytest.raises(DatasetError, match="class 'fox' is not among the 2 classes"):
        named_labels(["cat", "fox"], ["cat", "dog"])


def test_labels_inside_the_classes_pass():
    check_labels(np.array([0, 9]), 10)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 5, 10], "1 labels are out of range, the first the 10 of example 2.*counted from 1: subtract 1"),
        ([0, -1, -1], "2 labels are out of range, the first the -1 of example 1.*without a label"),
        ([0, 99], "labels go from 0 to 99, but the model has 10 classes, 0 to 9.*belong to this model"),
    ],
)
def test_labels_out_of_range_are_named_with_the_likely_cause(labels, message):
    with pytest.raises(DatasetError, match=message):
        check_labels(np.array(labels), 10)


def test_zeros_and_ones_of_two_columns_at_least_are_sets_of_labels():
    values = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]])
    for stored in (values.astype(kind) for kind in (np.uint8, bool, np.int64, np.float32)):
        y, names, labels = read_labels(stored, "y.npy")
        assert (y.tolist(), names, labels) == ([6, 0, 1], None, 3)
    assert read_labels(values[:, :1], "y.npy")[2] is None
    with pytest.raises(DatasetError, match="at most 53"):
        read_labels(np.zeros((4, 54), np.uint8), "y.npy")
