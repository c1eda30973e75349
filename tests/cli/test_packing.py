"""Datasets of any form become one file that is read as the original is."""

import numpy as np
import pytest
from PIL import Image

from auditor.cli.packing import packed
from auditor.data.read import read_dataset


def read(path, labels=None):
    dataset = read_dataset(path, labels=labels, shape=(1, 8, 8), domain=(0, 1))
    return dataset.sha256, dataset.y.tolist(), dataset.fetch(np.arange(dataset.size)).tobytes()


@pytest.fixture
def images(tmp_path):
    """A folder with two classes of two images, and files that are none of the dataset's."""
    random = np.random.default_rng(0)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    (tmp_path / "pets" / ".hidden").write_text("secret")
    return tmp_path / "pets"


@pytest.fixture
def arrays(tmp_path):
    """x.npy with y.npy beside it."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.random((5, 1, 8, 8), dtype=np.float32))
    np.save(tmp_path / "y.npy", random.integers(0, 3, 5))
    return tmp_path / "x.npy"


def test_a_folder_becomes_a_zip_with_the_same_digest(images):
    with packed(images, None) as file:
        assert file.name == "pets.zip"
        assert read(file) == read(images)
        assert b"secret" not in file.read_bytes()
        kept = file.read_bytes()
    assert not file.exists()
    with packed(images, None) as file:
        assert file.read_bytes() == kept


def test_arrays_become_one_archive_with_the_same_digest(arrays):
    with packed(arrays, None) as file:
        assert file.name == "x.npz"
        assert read(file) == read(arrays)


def test_labels_that_are_given_are_packed_in(arrays, images, tmp_path):
    np.save(tmp_path / "other.npy", np.arange(5))
    with packed(arrays, tmp_path / "other.npy") as file:
        assert read(file)[1] == [0, 1, 2, 3, 4]
    np.savez(tmp_path / "unlabelled.npz", x=np.load(arrays))
    with packed(tmp_path / "unlabelled.npz", tmp_path / "other.npy") as file:
        assert read(file)[1] == [0, 1, 2, 3, 4]
    (tmp_path / "two.csv").write_text("filename,label\ncat/1.png,4\ndog/1.png,7\n")
    (images / "labels.csv").write_text("filename,label\ncat/1.png,0\n")
    with packed(images, tmp_path / "two.csv") as file:
        assert read(file)[1] == read(images, tmp_path / "two.csv")[1] == [4, 7]


def test_a_file_that_is_whole_is_sent_as_it_is(demo_data):
    with packed(demo_data, None) as file:
        assert file == demo_data
    assert demo_data.exists()
