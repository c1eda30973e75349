"""What a dataset tells by itself."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from auditor.data.look import look
from auditor.errors import DatasetError


@pytest.fixture
def images(tmp_path):
    """Writes a zip of images, with further files by name."""

    def write(names, **files):
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                with archive.open(name, "w") as member:
                    Image.new("RGB", (6, 4)).save(member, "PNG")
            for name, content in files.items():
                archive.writestr(name.replace("_csv", ".csv"), content)
        return path

    return write


def test_arrays_tell_their_shape_and_classes_without_a_domain(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 3, 4, 4), np.float32), y=np.array([0, 1, 2, 0, 1]))
    assert look(tmp_path / "d.npz") == {
        "format": "npz",
        "examples": 5,
        "shape": [3, 4, 4],
        "stored": "float32",
        "classes": 3,
        "class_names": None,
        "labels": [2, 2, 1],
    }


def test_unlabelled_arrays_have_no_classes(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 4), np.uint8))
    facts = look(tmp_path / "x.npy")
    assert (facts["examples"], facts["stored"], facts["classes"]) == (5, "uint8", None)


def test_images_are_counted_at_whatever_size_they_have(images):
    facts = look(images(["cat/a.png", "dog/b.png", "dog/c.png"]))
    assert (facts["format"], facts["examples"], facts["shape"]) == ("zip", 3, [3, 4, 6])
    assert facts["class_names"] == ["cat", "dog"]


def test_images_whose_labels_have_to_be_named_are_not_refused(images):
    facts = look(images(["a.png", "b.png"], labels_csv="filename,species\na.png,1\nb.png,0\n"))
    assert facts["format"] == "zip"
    assert "species" in facts["remark"] or "column" in facts["remark"]


@pytest.mark.parametrize("table", ["a,species\n1,rose\n2,iris\n", "a,label,target\n1,0,1\n2,1,0\n"])
def test_a_table_whose_label_has_to_be_named_tells_its_columns(tmp_path, table):
    (tmp_path / "d.csv").write_text(table)
    facts = look(tmp_path / "d.csv")
    assert (facts["format"], facts["examples"]) == ("csv", 2)
    assert facts["columns"][0] == "a"
    assert "label" in facts["remark"]


def test_a_table_with_a_usual_label_tells_all(tmp_path):
    (tmp_path / "d.csv").write_text("a,b,label\n1,2,0\n3,4,1\n")
    facts = look(tmp_path / "d.csv")
    assert (facts["examples"], facts["shape"], facts["classes"]) == (2, [2], 2)
    assert "remark" not in facts


@pytest.mark.parametrize("name", ["d.npz", "d.npy", "d.zip", "d.csv", "d.parquet", "d.pkl"])
def test_what_cannot_be_read_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\x01 nothing of the kind \xff")
    with pytest.raises(DatasetError):
        look(tmp_path / name)


def test_values_that_are_not_numbers_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.full((2, 4), np.nan, np.float32), y=np.zeros(2, int))
    with pytest.raises(DatasetError, match="NaN"):
        look(tmp_path / "d.npz")


def test_the_facts_are_json(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 4)), y=np.array(["b", "a", "b", "a", "c"]))
    for path in (tmp_path / "d.npz", images(["cat/a.png"])):
        facts = look(path)
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_sets_of_labels_are_told_by_how_many_labels_there_are(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float32), y=np.eye(4, 3, dtype=np.uint8))
    found = look(tmp_path / "d.npz")
    assert (found["classes"], found["labels_at_once"], found["labels"]) == (3, 3, None)
