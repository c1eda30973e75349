"""Weights and groups, wherever the data hold them."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from auditor.data.read import read_dataset
from auditor.data.weighing import weighed
from auditor.errors import DatasetError
from tests.data.test_shards import SIZE, write


def both(path, **said):
    dataset = weighed(read_dataset(path, beside=["worth", "patient"], **said), "worth", "patient")
    return dataset.weight.tolist(), dataset.group.tolist()


def npz(folder, **arrays):
    x = np.zeros((3, 4), np.float32)
    np.savez(folder / "d.npz", **{"x": x, "y": np.arange(3), **arrays})
    return read_dataset(folder / "d.npz", domain=None, beside=[name for name in arrays if name != "x"])


EXPECTED = ([1.5, 0.0, 2.0], ["7", "7", "9"])


def test_a_table_keeps_them_apart_from_its_features(tmp_path):
    (tmp_path / "d.csv").write_text("a,worth,patient,label\n1,1.5,7,0\n2,0,7,1\n3,2,9,0\n")
    table = {"a": [1, 2, 3], "worth": [1.5, 0, 2], "patient": [7, 7, 9], "label": [0, 1, 0]}
    parquet.write_table(pa.table(table), tmp_path / "d.parquet")
    for path in (tmp_path / "d.csv", tmp_path / "d.parquet"):
        assert both(path, domain=None) == EXPECTED
        assert read_dataset(path, domain=None, beside=["worth", "patient"]).shape == (1,)
        assert read_dataset(path, domain=None).shape == (3,)


def test_an_npz_holds_them_as_arrays(tmp_path):
    dataset = npz(tmp_path, worth=np.array([1.5, 0, 2]), patient=np.array([7, 7, 9]))
    found = weighed(dataset, "worth", "patient")
    assert (found.weight.tolist(), found.group.tolist()) == EXPECTED
    assert found.preprocessing["source"]["weights"] == "worth"
    assert dataset.preprocessing["steps"] == found.preprocessing["steps"]


def test_a_list_of_labels_holds_them_as_columns(tmp_path):
    for name in "abc":
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    lines = ["filename,patient,label,worth", "c.png,9,0,2", "a.png,7,0,1.5", "b.png,7,1,0"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    weight, group = both(tmp_path, shape=(1, 4, 4))
    assert (weight, group) == ([2.0, 1.5, 0.0], ["9", "7", "7"])


def test_a_list_without_labels_stands_beside_class_folders(tmp_path):
    for name in ("cat/a.png", "dog/b.png", "cat/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    lines = ["file_name,worth,patient", "dog/b.png,0,7", "cat/a.png,1.5,7", "cat/c.png,2,9"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    assert both(tmp_path, shape=(1, 4, 4)) == ([0.0, 1.5, 2.0], ["7", "7", "9"])
    dataset = read_dataset(tmp_path, shape=(1, 4, 4), beside=["patient"])
    assert (dataset.y.tolist(), dataset.class_names) == ([1, 0, 0], ("cat", "dog"))
    assert dataset.preprocessing["source"]["labels"] == "class folders"
    with pytest.raises(DatasetError, match="one for the label"):
        read_dataset(tmp_path, shape=(1, 4, 4))


def test_a_list_beside_images_in_no_folder_leaves_them_without_labels(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,patient\na.png,7\n")
    dataset = read_dataset(tmp_path, shape=(1, 4, 4), beside=["patient"])
    assert dataset.y is None
    assert dataset.columns["patient"].tolist() == ["7"]


def test_shards_of_images_hold_them_beside_the_labels(tmp_path):
    worth, patient = [1.5, 0.0, 2.0], ["7", "7", "9"]
    for shard in range(3):
        columns = {"worth": worth[shard : shard + 1], "patient": patient[shard : shard + 1]}
        write(tmp_path / f"test-0000{shard}-of-00003.parquet", [1], [0], **columns)
    assert both(tmp_path, shape=(3, *SIZE)) == EXPECTED


REFUSED = {
    "a negative weight": ({"worth": np.array([1, -1, 2])}, "of example 1 is -1; give a number from 0"),
    "a weight that is no number": ({"worth": np.array([1, np.nan, 2])}, "of example 1 is nan"),
    "an infinite weight": ({"worth": np.array([1, 2, np.inf])}, "of example 2 is inf"),
    "a weight in words": ({"worth": np.array(["1", "2", "much"])}, "of example 2 is much"),
    "weights that are all 0": ({"worth": np.zeros(3)}, "are all 0"),
    "weights of several axes": ({"worth": np.ones((3, 2))}, r"shape \(3, 2\).*not one weight per example"),
    "too few weights": ({"worth": np.ones(2)}, "3 examples but 2 values of 'worth'"),
    "a missing group": ({"patient": np.array(["a", " ", "b"])}, "example 1 has no group in 'patient'"),
    "a group that is no number": ({"patient": np.array([1, np.nan, np.nan])}, r"example 1 has no group.*2 have none"),
    "groups of several axes": ({"patient": np.ones((3, 2))}, "not the name of each example's group"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_weight_and_no_group_is_refused(name, tmp_path):
    arrays, why = REFUSED[name]
    with pytest.raises(DatasetError, match=why):
        weighed(npz(tmp_path, **arrays), *(column if column in arrays else None for column in ("worth", "patient")))


def test_columns_that_are_not_there_are_named(tmp_path):
    (tmp_path / "d.csv").write_text("a,label\n1,0\n")
    with pytest.raises(DatasetError, match="no column 'worth'; its columns are a, label"):
        read_dataset(tmp_path / "d.csv", domain=None, beside=["worth"])
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.arange(2))
    with pytest.raises(DatasetError, match="no array 'worth'; its arrays are x, y"):
        read_dataset(tmp_path / "d.npz", domain=None, beside=["worth"])
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    with pytest.raises(DatasetError, match=r"store inputs, labels and it in one \.npz"):
        read_dataset(tmp_path / "x.npy", domain=None, beside=["worth"])
    write(tmp_path / "shard.parquet", [1], [0])
    with pytest.raises(DatasetError, match="no column 'worth'; its columns are image, label"):
        read_dataset(tmp_path / "shard.parquet", shape=(3, *SIZE), beside=["worth"])
    (tmp_path / "images" / "cat").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "images" / "cat" / "a.png")
    with pytest.raises(DatasetError, match=r"no labels\.csv, so no column 'worth'"):
        read_dataset(tmp_path / "images", beside=["worth"])
    (tmp_path / "images" / "labels.csv").write_text("filename,label\ncat/a.png,1\n")
    with pytest.raises(DatasetError, match=r"labels\.csv has no column 'worth'; its columns are filename, label"):
        read_dataset(tmp_path / "images", beside=["worth"])
    table = pa.table({"a": [1.0, 2.0], "label": [0, 1], "patient": [None, "b"]})
    parquet.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DatasetError, match="the column 'patient' has 1 missing values, the first in example 0"):
        read_dataset(tmp_path / "d.parquet", domain=None, beside=["patient"])
