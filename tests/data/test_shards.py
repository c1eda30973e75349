"""Images in Parquet files as the Hugging Face Hub writes them."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from auditor.data.read import read_dataset
from auditor.errors import DatasetError

SIZE = (4, 5)
CLASSES = ["tench", "crane", "bee"]


def encoded(level):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, levels, labels=None, *, label="label", names=None, rows_per_group=2, bad=None, **more):
    images = [{"bytes": encoded(level), "path": f"{level}.png"} for level in levels]
    if bad is not None:
        images[bad[0]] = {"bytes": bad[1], "path": "gone.png"}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind)}
    if labels is not None:
        columns[label] = pa.array(labels)
    table = pa.table(columns | {name: pa.array(values) for name, values in more.items()})
    if names is not None:
        features = {"image": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows_per_group)


def levels_of(dataset, index=None):
    x = dataset.fetch(np.arange(dataset.size) if index is None else np.array(index))
    return np.round(255 * x[:, 0, 0, 0]).astype(int).tolist()


@pytest.fixture
def shards(tmp_path):
    write(tmp_path / "data" / "test-00000-of-00002.parquet", [10, 20, 30, 40, 50], [0, 1, 2, 0, 1], names=CLASSES)
    write(tmp_path / "data" / "test-00001-of-00002.parquet", [60, 70], [2, 2], names=CLASSES)
    return tmp_path / "data"


@pytest.mark.parametrize("given", ["", "test-00001-of-00002.parquet"])
def test_a_folder_and_any_of_its_shards_are_the_whole_split(shards, given):
    dataset = read_dataset(shards / given, shape=(3, *SIZE))
    assert (dataset.size, dataset.shape) == (7, (3, *SIZE))
    assert dataset.y.tolist() == [0, 1, 2, 0, 1, 2, 2]
    assert dataset.class_names == tuple(CLASSES)
    assert dataset.domain == (0.0, 1.0)
    assert levels_of(dataset) == [10, 20, 30, 40, 50, 60, 70]
    assert levels_of(dataset, [6, 0, 3, 6]) == [70, 10, 40, 70]


def test_the_same_images_have_the_same_digest_wherever_they_lie(shards, tmp_path):
    write(tmp_path / "other" / "test-00000-of-00002.parquet", [10, 20, 30, 40, 50], [0, 1, 2, 0, 1], rows_per_group=5)
    write(tmp_path / "other" / "test-00001-of-00002.parquet", [60, 70], [2, 2])
    digest = read_dataset(shards, shape=(3, *SIZE)).sha256
    assert read_dataset(tmp_path / "other", shape=(3, *SIZE)).sha256 == digest
    write(tmp_path / "other" / "test-00001-of-00002.parquet", [60, 71], [2, 2])
    assert read_dataset(tmp_path / "other", shape=(3, *SIZE)).sha256 != digest


def test_labels_are_numbers_names_or_none(tmp_path):
    write(tmp_path / "a" / "names.parquet", [1, 2, 3], ["bee", "crane", "bee"])
    named = read_dataset(tmp_path / "a" / "names.parquet", shape=(3, *SIZE))
    assert (named.y.tolist(), named.class_names) == ([0, 1, 0], ("bee", "crane"))
    write(tmp_path / "a" / "none.parquet", [1, 2])
    assert read_dataset(tmp_path / "a" / "none.parquet", shape=(3, *SIZE)).y is None
    write(tmp_path / "a" / "fine.parquet", [1, 2], [2, 1], label="fine_label", names=CLASSES)
    assert read_dataset(tmp_path / "a" / "fine.parquet", shape=(3, *SIZE)).y.tolist() == [2, 1]


def test_a_label_column_can_be_named(tmp_path):
    write(tmp_path / "a.parquet", [1, 2], [0, 1], coarse=[5, 6])
    dataset = read_dataset(tmp_path / "a.parquet", shape=(3, *SIZE), label_column="coarse")
    assert dataset.y.tolist() == [5, 6]


def test_only_row_groups_that_are_asked_for_are_read(shards, monkeypatch):
    dataset = read_dataset(shards, shape=(3, *SIZE))
    read = []
    group = parquet.ParquetFile.read_row_group
    monkeypatch.setattr(
        parquet.ParquetFile, "read_row_group", lambda self, i, **named: read.append(i) or group(self, i, **named)
    )
    levels_of(dataset, [6])
    levels_of(dataset, [6, 5])
    assert len(read) <= 1


REFUSED = {
    "a shard is missing": (
        lambda d: write(d / "train-00001-of-00003.parquet", [1], [0]),
        "2 of 3 shards are missing, the first train-00000-of-00003.parquet",
    ),
    "several splits": (
        lambda d: (write(d / "train.parquet", [1], [0]), write(d / "test.parquet", [1], [0])),
        "several splits or tables",
    ),
    "a missing label": (
        lambda d: write(d / "a.parquet", [1, 2], [0, None]),
        "a.parquet, row 1: the label 'label' is missing",
    ),
    "labels that are no classes": (
        lambda d: write(d / "a.parquet", [1, 2], [0.5, 1.5]),
        "neither whole numbers nor names",
    ),
    "two label columns": (lambda d: write(d / "a.parquet", [1], [0], target=[1]), "name one with --label-column"),
    "no such label column": (lambda d: write(d / "a.parquet", [1], [0], label="x", other=[1]), "no column 'label'"),
    "no images": (lambda d: parquet.write_table(pa.table({"a": [1.0]}), d / "a.parquet"), "no column of images"),
    "no Parquet": (lambda d: (d / "a.parquet").write_bytes(b"PAR1 nonsense"), "not a Parquet table"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_shards_are_refused_by_name(name, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    make, why = REFUSED[name]
    make(folder)
    column = "label" if "no such" in name else None
    with pytest.raises(DatasetError, match=why):
        read_dataset(folder, shape=(3, *SIZE), label_column=column)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "a.parquet#1 holds no bytes"), (b"no image", "a.parquet#1 is not a readable image")]
)
def test_a_bad_image_is_named_by_file_and_row(content, why, tmp_path):
    write(tmp_path / "a.parquet", [1, 2, 3], [0, 1, 0], bad=(1, content))
    with pytest.raises(DatasetError, match=why):
        read_dataset(tmp_path / "a.parquet", shape=(3, *SIZE)).fetch(np.array([1]))
