import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from auditor.data import arrays
from auditor.data.arrays import MAX_ARRAY_BYTES
from auditor.data.preprocessing import Preprocessing
from auditor.data.read import read_dataset
from auditor.errors import DatasetError

TESTDATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "../shared/data"))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(6) % 3


def everything(dataset):
    return dataset.fetch(np.arange(dataset.size))


def test_uint8_values_become_exactly_value_over_255(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(4, 64)
    np.savez(tmp_path / "d.npz", x=levels)
    dataset = read_dataset(tmp_path / "d.npz")
    assert dataset.implied_domain == dataset.domain == (0.0, 1.0)
    assert everything(dataset).dtype == np.float32
    np.testing.assert_array_equal(everything(dataset), levels.astype(np.float32) / np.float32(255))


def test_uint8_values_fill_the_declared_domain(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([[0, 255, 51]], dtype=np.uint8))
    assert everything(read_dataset(tmp_path / "d.npz", domain=(0, 255))).tolist() == [[0, 255, 51]]
    assert everything(read_dataset(tmp_path / "d.npz", domain=(-1, 1)))[0, :2].tolist() == [-1, 1]


def test_uint8_values_without_a_domain_still_imply_their_scale(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([[0, 255]], dtype=np.uint8))
    dataset = read_dataset(tmp_path / "d.npz", domain=None)
    assert dataset.domain is None
    assert dataset.implied_domain == (0.0, 1.0)
    assert everything(dataset).tolist() == [[0, 1]]


def test_npz_and_npy_pair_give_the_same_dataset(tmp_path, images, labels):
    np.savez_compressed(tmp_path / "d.npz", x=images, y=labels)
    np.save(tmp_path / "x_test.npy", np.asfortranarray(images))
    np.save(tmp_path / "y_test.npy", labels)
    archive, pair = read_dataset(tmp_path / "d.npz"), read_dataset(tmp_path / "x_test.npy")
    assert archive.sha256 == pair.sha256
    assert archive.y.tolist() == pair.y.tolist() == labels.tolist()
    np.testing.assert_array_equal(everything(archive), everything(pair))


def test_the_digest_sees_every_value_and_label(tmp_path, images, labels):
    digests = set()
    changed_image, changed_label = images.copy(), labels.copy()
    changed_image[5, 2, 3, 4] ^= 1
    changed_label[5] += 1
    for x, y in ((images, labels), (changed_image, labels), (images, changed_label)):
        np.savez(tmp_path / "d.npz", x=x, y=y)
        digests.add(read_dataset(tmp_path / "d.npz").sha256)
    assert len(digests) == 3


def test_fetch_gives_the_asked_examples_in_the_asked_order(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=images)
    dataset = read_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(dataset.fetch(np.array([4, 1])), everything(dataset)[[4, 1]])


def test_positions_outside_the_dataset_are_refused(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=images)
    with pytest.raises(DatasetError, match="examples 0 to 5"):
        read_dataset(tmp_path / "d.npz").fetch(np.array([-1, 2]))


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [("X", "Y"), ("images", "labels"), ("data", "target"), ("test_images", "test_labels"), ("x_test", "y_test")],
)
def test_usual_names_of_arrays_are_understood(tmp_path, images, labels, inputs, targets):
    np.savez(tmp_path / "d.npz", **{inputs: images, targets: labels, "x_train": images[:2], "eps": labels})
    dataset = read_dataset(tmp_path / "d.npz")
    assert dataset.size == 6
    assert dataset.y.tolist() == labels.tolist()
    assert dataset.preprocessing["source"] == {"inputs": inputs, "labels": targets}


def test_unnamed_arrays_are_told_apart_by_their_rank(tmp_path, images, labels):
    np.savez(tmp_path / "d.npz", images, labels)
    assert read_dataset(tmp_path / "d.npz").y.tolist() == labels.tolist()


def test_data_without_labels_have_none(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=images)
    np.save(tmp_path / "alone.npy", images)
    assert read_dataset(tmp_path / "d.npz").y is None
    assert read_dataset(tmp_path / "alone.npy").y is None


@pytest.mark.parametrize("pair", [("x", "y"), ("X", "Y"), ("X_test", "y_test"), ("test_images", "test_labels")])
def test_labels_beside_an_npy_are_found(tmp_path, images, labels, pair):
    np.save(tmp_path / f"{pair[0]}.npy", images)
    np.save(tmp_path / f"{pair[1]}.npy", labels)
    assert read_dataset(tmp_path / f"{pair[0]}.npy").y.tolist() == labels.tolist()


def test_given_labels_replace_the_stored_ones(tmp_path, images, labels):
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    np.save(tmp_path / "other.npy", labels[::-1])
    assert read_dataset(tmp_path / "d.npz", labels=tmp_path / "other.npy").y.tolist() == labels[::-1].tolist()


@pytest.mark.parametrize(
    ("stored", "shape", "layout", "expected"),
    [
        ((3, 4, 5), (3, 4, 5), None, lambda x: x),
        ((3, 4, 5), (3, None, None), None, lambda x: x),
        ((4, 5, 3), (3, 4, 5), None, lambda x: x.transpose(0, 3, 1, 2)),
        ((3, 4, 5), (4, 5, 3), "NHWC", lambda x: x.transpose(0, 2, 3, 1)),
        ((4, 5), (1, 4, 5), None, lambda x: x[:, None]),
        ((4, 5), (4, 5, 1), None, lambda x: x[..., None]),
        ((4, 5, 1), (4, 5), None, lambda x: x[..., 0]),
        ((1, 4, 5), (4, 5, 1), None, lambda x: x.transpose(0, 2, 3, 1)),
        ((20,), (1, 4, 5), None, lambda x: x.reshape(-1, 1, 4, 5)),
        ((20, 1), (1, 4, 5), None, lambda x: x.reshape(-1, 1, 4, 5)),
        ((1, 4, 5), (20,), None, lambda x: x.reshape(-1, 20)),
        ((20,), (20, 1), None, lambda x: x[..., None]),
    ],
)
def test_examples_are_rearranged_into_the_model_shape(tmp_path, stored, shape, layout, expected):
    x = np.random.default_rng(1).random((3, *stored), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    dataset = read_dataset(tmp_path / "d.npz", shape=shape, layout=layout, domain=(0, 1))
    np.testing.assert_array_equal(everything(dataset), expected(x))
    assert dataset.shape == expected(x).shape[1:]
    assert bool(dataset.preprocessing["steps"]) == (stored != dataset.shape)


def test_a_shape_that_does_not_fit_names_both(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=images)
    with pytest.raises(DatasetError, match=r"d\.npz holds examples of shape \(3, 4, 5\).*takes \(1, 28, any\)"):
        read_dataset(tmp_path / "d.npz", shape=(1, 28, None))


def test_float_values_need_a_declared_domain(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)))
    with pytest.raises(DatasetError, match=r"float64 values must be declared.*--domain 0,1.*--domain none"):
        read_dataset(tmp_path / "d.npz")
    assert read_dataset(tmp_path / "d.npz", domain=None).domain is None


def test_rounding_outside_the_domain_is_clipped(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([[-1e-8, 1.0000001]]))
    assert everything(read_dataset(tmp_path / "d.npz", domain=(0, 1))).tolist() == [[0, 1]]


def test_examples_lie_inside_a_domain_that_float32_cannot_hold(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.1, 0.3], [0.2, 0.2]], dtype=np.float32))
    x = everything(read_dataset(tmp_path / "x.npy", domain=(0.1, 0.3))).astype(np.float64)
    assert (x >= 0.1).all()
    assert (x <= 0.3).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1], [0, 255], [3, 4]], r"from 0 to 255, outside the domain \[0, 1\].*position 1.*--domain 0,255"),
        ([[0, 1], [-2.1, 2.6]], r"from -2.1 to 2.6.*before normalisation.*--mean and --std"),
        ([[0, 1000]], "Declare the range"),
        ([[0, 1], [np.nan, 0], [0, np.inf]], r"2 of the 3 examples read hold NaN or infinite.*first at position 1"),
    ],
)
def test_values_that_cannot_be_inputs_are_refused(tmp_path, values, message):
    np.savez(tmp_path / "d.npz", x=np.array(values, dtype=np.float32))
    with pytest.raises(DatasetError, match=message):
        everything(read_dataset(tmp_path / "d.npz", domain=(0, 1)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 3)), "b": np.zeros(2)}, r"which array.*Its arrays: a \(2, 3\) float64, b \(2,\) float64"),
        ({"x": np.zeros((2, 3)), "images": np.zeros((2, 3))}, "Store the inputs as 'x'"),
        ({"x": np.zeros((2, 3), np.uint8), "y": np.zeros(3, int)}, "holds 2 examples but 3 labels"),
        ({"x": np.zeros((0, 3), np.uint8)}, "holds no examples"),
        ({"x": np.zeros(3, np.uint8)}, "no axis besides the examples"),
        ({"x": np.array([["a"]])}, "<U1 are not numbers"),
        ({"x": np.array([[1, None]])}, "array 'x': Python objects are not read"),
        ({}, "Its arrays: none"),
    ],
)
def test_archives_that_make_no_dataset_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "d.npz")


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1, None]]), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"x\.npy: Python objects are not read"):
        read_dataset(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["d.npz", "x.npy"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93NUMPY nothing of the sort")
    with pytest.raises(DatasetError, match=name):
        read_dataset(tmp_path / name)


def test_a_truncated_array_is_refused(tmp_path, images):
    np.save(tmp_path / "x.npy", images)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-10])
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", content[:-10])
    for name in ("x.npy", "d.npz"):
        with pytest.raises(DatasetError, match="damaged"):
            read_dataset(tmp_path / name)


@pytest.mark.parametrize("huge", ["x", "y"])
def test_an_array_that_claims_more_than_the_memory_allowed_is_refused_unread(tmp_path, huge):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in ("x", "y"):
            with archive.open(f"{name}.npy", "w") as member:
                shape = (MAX_ARRAY_BYTES if name == huge else 0, 2)
                np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with pytest.raises(DatasetError, match=f"'{huge}'.* would take 32 GiB"):
        read_dataset(tmp_path / "d.npz")


def test_normalisation_is_handed_on_and_not_applied(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([[0, 255]], dtype=np.uint8))
    declared = Preprocessing(mean=(0.5,), std=(0.25,))
    dataset = read_dataset(tmp_path / "d.npz", preprocessing=declared)
    assert (dataset.normalisation.mean, dataset.normalisation.std) == ((0.5,), (0.25,))
    assert everything(dataset).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("dtype", "declared", "named"),
    [("uint8", {"resize": 8}, "resize"), ("float32", {"scale": 1.0, "channel_order": "BGR"}, "channel_order, scale")],
)
def test_image_steps_are_refused_for_arrays(tmp_path, dtype, declared, named):
    np.savez(tmp_path / "d.npz", x=np.zeros((1, 3), dtype))
    with pytest.raises(DatasetError, match=f"{named} cannot be applied"):
        read_dataset(tmp_path / "d.npz", domain=(0, 1), preprocessing=Preprocessing(**declared))


def test_a_scale_that_contradicts_the_domain_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((1, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"0\.\.255 to \[0, 1\], but the declared domain is \[0, 255\]"):
        read_dataset(tmp_path / "d.npz", domain=(0, 255), preprocessing=Preprocessing(scale=1 / 255))


@pytest.mark.parametrize("domain", [(1, 0), (0, 0), (0, float("inf"))])
def test_a_domain_that_is_no_range_is_refused(tmp_path, domain):
    with pytest.raises(DatasetError, match="is not a range"):
        read_dataset(tmp_path, domain=domain)


@pytest.mark.parametrize(
    ("name", "message"), [("none.npz", "no file or folder"), ("model.pkl", r"Accepted are an \.npz with x and y")]
)
def test_paths_that_cannot_be_read_are_named(tmp_path, name, message):
    (tmp_path / "model.pkl").touch()
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / name)


def test_a_missing_label_file_is_named(tmp_path, images):
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(DatasetError, match=r"There is no file .*gone\.npy"):
        read_dataset(tmp_path / "x.npy", labels=tmp_path / "gone.npy")


def test_an_archive_is_not_taken_for_labels(tmp_path, images, labels):
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "y.npz", labels)
    with pytest.raises(DatasetError, match=r"y\.npz is an archive, not a single array"):
        read_dataset(tmp_path / "x.npy", labels=tmp_path / "y.npz")


def test_a_label_column_of_an_array_is_refused(tmp_path, images):
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(DatasetError, match="no label column 'kind'"):
        read_dataset(tmp_path / "x.npy", label_column="kind")


@pytest.mark.skipif(not TESTDATA.is_dir(), reason="AUDITOR_TESTDATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("images/cifar10_test_1000", (3, 32, 32)),
        ("images/mnist_test_1000", (28, 28, 1)),
        ("instances/mnist_fc", (784, 1)),
        ("instances/marabou-cifar10", (32, 32, 3)),
    ],
)
def test_real_archives_are_read_in_the_model_layout(name, shape):
    dataset = read_dataset(TESTDATA / f"{name}.npz", shape=shape, domain=(0, 1))
    x = everything(dataset)
    assert x.shape == (dataset.size, *shape)
    assert 0 <= x.min() < x.max() <= 1
    assert dataset.y.shape == (dataset.size,)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_example_is_read_without_the_others(tmp_path, monkeypatch, save):
    x = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
    save(tmp_path / "d.npz", x=x, y=np.arange(5))
    with (tmp_path / "d.npz").open("rb") as file:
        for index in (4, 0):
            assert np.array_equal(arrays.stored_row(file, "d.npz", index), x[index])
        for index in (-1, 5):
            with pytest.raises(DatasetError, match="does not hold example"):
                arrays.stored_row(file, "d.npz", index)
        monkeypatch.setattr(arrays, "_MOST_UNPACKED", 5)
        with pytest.raises(DatasetError, match="does not hold example"):
            arrays.stored_row(file, "d.npz", 0)


def test_one_example_of_what_is_no_archive_is_refused():
    with pytest.raises(DatasetError, match="damaged"):
        arrays.stored_row(io.BytesIO(b"no archive"), "d.npz", 0)
