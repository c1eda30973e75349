import numpy as np
import pyarrow as pa
import pytest

from auditor.data.read import read_dataset
from auditor.errors import DatasetError


def csv(tmp_path, text, name="d.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def everything(dataset):
    return dataset.fetch(np.arange(dataset.size))


def test_csv_and_parquet_give_the_same_dataset(tmp_path):
    from pyarrow import parquet

    path = csv(tmp_path, "a,label,b\n1.5,0,2\n-3,1,4\n")
    parquet.write_table(pa.table({"a": [1.5, -3], "label": [0, 1], "b": [2, 4]}), tmp_path / "d.parquet")
    read, same = (read_dataset(p, domain=None) for p in (path, tmp_path / "d.parquet"))
    assert everything(read).tolist() == everything(same).tolist() == [[1.5, 2], [-3, 4]]
    assert read.y.tolist() == same.y.tolist() == [0, 1]
    assert read.sha256 == same.sha256
    assert read.implied_domain is None
    assert read.preprocessing["source"] == {"inputs": ["a", "b"], "labels": "label", "left_out": []}


@pytest.mark.parametrize("column", ["label", "y", "Target", "class"])
def test_usual_label_columns_are_found(tmp_path, column):
    dataset = read_dataset(csv(tmp_path, f"a,{column}\n1,2\n"), domain=None)
    assert dataset.y.tolist() == [2]
    assert dataset.shape == (1,)


def test_a_named_label_column_may_hold_names(tmp_path):
    dataset = read_dataset(csv(tmp_path, "a,kind\n1,rose\n2,iris\n3,rose\n"), label_column="kind", domain=None)
    assert dataset.y.tolist() == [1, 0, 1]
    assert dataset.class_names == ("iris", "rose")


def test_a_categorical_label_column_of_parquet_is_read(tmp_path):
    from pyarrow import parquet

    kinds = pa.array(["b", "a", "b"]).dictionary_encode()
    parquet.write_table(pa.table({"x0": [1, 2, 3], "label": kinds}), tmp_path / "d.parquet")
    assert read_dataset(tmp_path / "d.parquet", domain=None).y.tolist() == [1, 0, 1]


def test_a_table_without_label_column_has_no_labels(tmp_path):
    dataset = read_dataset(csv(tmp_path, "a,b\n1,2\n"), domain=None)
    assert dataset.y is None
    assert dataset.shape == (2,)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    text = "a,b,y\n1,true,0\n2,false,1\n".replace(",", delimiter)
    assert everything(read_dataset(csv(tmp_path, text), domain=None)).tolist() == [[1, 1], [2, 0]]


def test_row_numbers_are_left_out_and_recorded(tmp_path):
    dataset = read_dataset(csv(tmp_path, ",a,y\n0,5,1\n1,6,0\n"), domain=None)
    assert everything(dataset).tolist() == [[5], [6]]
    assert dataset.preprocessing["source"]["left_out"] == [""]


def test_columns_of_pixels_become_images(tmp_path):
    path = csv(tmp_path, "label,p0,p1,p2,p3\n7,0,255,3,4\n")
    dataset = read_dataset(path, shape=(1, 2, 2), domain=(0, 255))
    assert everything(dataset).tolist() == [[[[0, 255], [3, 4]]]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,y\n1,0\n", {}, "range of its float32 values must be declared"),
        ("a,b\n1,0\n", {"label_column": "c"}, "no column 'c'; its columns are a, b"),
        ("a,y,label\n1,0,1\n", {}, "each of y, label could hold the labels; name one with --label-column"),
        ("a,b,y\n1,red,1\n", {}, "column 'b' holds string, not numbers"),
        ("a,y\n1,0\n,1\n", {}, "column 'a' has 1 missing values, the first in example 1"),
        ("a,y\n1,0\n2,\n", {}, "column 'y' has 1 missing values, the first in example 1"),
        ("1,2\n3,4\n", {}, "has no header: its first row"),
        ("a,a,y\n1,2,0\n", {}, "more than one column 'a'"),
        ("y\n1\n", {}, "no column besides the label 'y'"),
        ("a,y\n1,0.5\n", {}, "label 0.5 of example 0 is not an integer"),
        ("a,y\n", {}, "holds no examples"),
        ("a,b,y\n1,2\n", {}, "is not a CSV table"),
        ("a,b,y\n1,2,0\n", {"shape": (3,)}, r"has 2 feature columns \(a, b\), but the model's input takes 3"),
        ("a,y\n1,0\n", {"labels": "y.npy"}, "its labels are one of its columns"),
    ],
)
def test_tables_that_make_no_dataset_are_refused(tmp_path, text, options, message):
    if "declared" not in message:
        options = {"domain": None, **options}
    with pytest.raises(DatasetError, match=message):
        read_dataset(csv(tmp_path, text), **options)


def test_a_damaged_parquet_is_refused(tmp_path):
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DatasetError, match=r"d\.parquet is not a Parquet table"):
        read_dataset(tmp_path / "d.parquet", domain=None)


def test_infinite_values_are_found_when_read(tmp_path):
    dataset = read_dataset(csv(tmp_path, "a,y\n1,0\ninf,1\n"), domain=None)
    with pytest.raises(DatasetError, match="NaN or infinite"):
        everything(dataset)


def test_a_parquet_beyond_the_memory_allowed_is_refused_unread(tmp_path, monkeypatch):
    from pyarrow import parquet

    monkeypatch.setattr("auditor.data.tables.MAX_ARRAY_BYTES", 100)
    parquet.write_table(pa.table({"a": range(20), "b": range(20)}), tmp_path / "d.parquet")
    with pytest.raises(DatasetError, match="20 rows of 2 columns are more than"):
        read_dataset(tmp_path / "d.parquet", domain=None)


def test_several_columns_of_zeros_and_ones_are_labels_at_once(tmp_path):
    path = csv(tmp_path, "a,cat,dog,b\n1,0,1,2\n3,1,1,4\n5,0,0,6\n")
    dataset = read_dataset(path, label_column="dog, cat", domain=None)
    assert (dataset.labels, dataset.class_names) == (2, ("dog", "cat"))
    assert dataset.y.tolist() == [0b01, 0b11, 0]
    assert everything(dataset).tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(DatasetError, match="no column 'cow'"):
        read_dataset(path, label_column="dog,cow", domain=None)
    with pytest.raises(DatasetError, match="zeros and ones"):
        read_dataset(path, label_column="dog,b", domain=None)
