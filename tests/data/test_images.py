import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from auditor.data.pictures import MAX_PIXELS
from auditor.data.preprocessing import Preprocessing
from auditor.data.read import read_dataset
from auditor.errors import DatasetError

RNG = np.random.default_rng(0)


def picture(height=12, width=16, mode="RGB"):
    values = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def save(path, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image or picture()
    image.save(path)
    return image


def everything(dataset):
    return dataset.fetch(np.arange(dataset.size))


def grey_levels(x):
    return np.round(x * 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ("cat/a.png", "cat/b.png", "dog/sub/c.png"):
        save(tmp_path / "pets" / name)
    return tmp_path / "pets"


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_class_folders_are_numbered_in_sorted_order(folder):
    dataset = read_dataset(folder)
    assert dataset.y.tolist() == [0, 0, 1]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.implied_domain == dataset.domain == (0.0, 1.0)


def test_folders_named_by_numbers_keep_their_index(tmp_path):
    for name in ("10/a.png", "2/b.png"):
        save(tmp_path / name)
    assert read_dataset(tmp_path).y.tolist() == [10, 2]


def test_a_class_list_decides_the_indices(folder):
    (folder / "classes.txt").write_text("dog\nfox\ncat\n")
    dataset = read_dataset(folder)
    assert dataset.y.tolist() == [2, 2, 0]
    assert dataset.class_names == ("dog", "fox", "cat")


@pytest.mark.parametrize("prefix", ["", "wrapped/"])
def test_a_zip_is_the_same_dataset_as_its_folder(folder, tmp_path, prefix):
    (folder / ".DS_Store").write_text("hidden")
    archive = read_dataset(zipped(folder, tmp_path / "pets.zip", prefix))
    dataset = read_dataset(folder)
    assert archive.sha256 == dataset.sha256
    assert archive.y.tolist() == dataset.y.tolist()
    np.testing.assert_array_equal(everything(archive), everything(dataset))


def test_the_digest_sees_pixels_names_and_labels(folder):
    digests = {read_dataset(folder).sha256}
    save(folder / "cat/a.png")
    digests.add(read_dataset(folder).sha256)
    (folder / "cat/a.png").rename(folder / "dog/a.png")
    digests.add(read_dataset(folder).sha256)
    assert len(digests) == 3


def test_pixels_arrive_unchanged_when_the_size_fits(tmp_path):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=(3, 12, 16)))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(image).transpose(2, 0, 1))


def test_images_beside_each_other_have_no_labels(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset.y is None
    assert dataset.size == 2


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\nb.png,dog\na.png,cat\n",
        "b.png,dog\na.png,cat\n",
        "id;label;file_name\n1;dog;b.png\n2;cat;./a.png\n",
    ],
)
def test_a_label_table_decides_labels_and_order(tmp_path, text):
    for name in ("a.png", "b.png", "unlisted.png"):
        save(tmp_path / name)
    (tmp_path / "labels.csv").write_text(text)
    dataset = read_dataset(tmp_path)
    assert dataset.y.tolist() == [1, 0]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.preprocessing["source"]["labels"] == "labels.csv"


def test_a_label_table_may_lie_elsewhere_and_its_column_be_named(folder, tmp_path):
    (tmp_path / "other.csv").write_text("file,breed\ncat/a.png,3\ndog/sub/c.png,1\n")
    dataset = read_dataset(folder, labels=tmp_path / "other.csv", label_column="breed")
    assert dataset.y.tolist() == [3, 1]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_resize_and_crop_equal_pillow(tmp_path, interpolation):
    image = save(tmp_path / "a.png", picture(21, 30))
    declared = Preprocessing(resize=10, crop=(8, 8), interpolation=interpolation)
    x = everything(read_dataset(tmp_path, shape=(8, 8, 3), preprocessing=declared))
    expected = image.resize((14, 10), Image.Resampling[interpolation.upper()]).crop((3, 1, 11, 9))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(expected))


def test_an_exact_resize_ignores_the_aspect(tmp_path):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=(3, 6, 9), preprocessing=Preprocessing(resize=(6, 9))))
    expected = np.asarray(image.resize((9, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(grey_levels(x[0]), expected.transpose(2, 0, 1))


def test_without_a_declared_size_images_cover_the_model_input(tmp_path):
    image = save(tmp_path / "a.png", picture(12, 18))
    dataset = read_dataset(tmp_path, shape=(3, 6, 6))
    expected = image.resize((9, 6), Image.Resampling.BILINEAR).crop((2, 0, 8, 6))
    np.testing.assert_array_equal(grey_levels(everything(dataset)[0]), np.asarray(expected).transpose(2, 0, 1))
    assert dataset.preprocessing["source"]["size_declared"] is False


def test_bgr_reverses_the_channels(tmp_path):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=(12, 16, 3), preprocessing=Preprocessing(channel_order="BGR")))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(image)[:, :, ::-1])


@pytest.mark.parametrize("shape", [(1, 12, 16), (12, 16, 1), (12, 16), (192,), (192, 1)])
def test_one_channel_models_get_luma(tmp_path, shape):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=shape))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(image.convert("L")).reshape(shape))


@pytest.mark.parametrize(("layout", "axes"), [(None, (2, 0, 1)), ("NHWC", (0, 1, 2))])
def test_flat_models_get_colour_images_laid_flat(tmp_path, layout, axes):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=(576,), layout=layout))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(image).transpose(axes).reshape(-1))


def test_grayscale_is_repeated_for_colour_models(tmp_path):
    image = save(tmp_path / "a.png")
    x = everything(read_dataset(tmp_path, shape=(3, 12, 16), preprocessing=Preprocessing(grayscale=True)))
    np.testing.assert_array_equal(grey_levels(x[0]), np.stack([np.asarray(image.convert("L"))] * 3))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_other_eight_bit_modes_become_colours(tmp_path, mode):
    image = save(tmp_path / "a.png", picture(mode=mode))
    x = everything(read_dataset(tmp_path, shape=(3, 12, 16)))
    np.testing.assert_array_equal(grey_levels(x[0]), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_free_sizes_follow_the_images(tmp_path):
    save(tmp_path / "a.png")
    assert read_dataset(tmp_path, shape=(None, None, 3)).shape == (12, 16, 3)
    assert read_dataset(tmp_path, shape=(3, None, None), preprocessing=Preprocessing(resize=6)).shape == (3, 6, 8)
    assert read_dataset(tmp_path).shape == (3, 12, 16)


def test_a_configuration_among_the_images_is_followed(folder, tmp_path):
    config = {
        "size": {"shortest_edge": 10},
        "crop_size": 8,
        "resample": 3,
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.1, 0.2, 0.3],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    dataset = read_dataset(zipped(folder, tmp_path / "pets.zip"), shape=(3, 8, 8))
    image = Image.open(folder / "cat/a.png").resize((13, 10), Image.Resampling.BICUBIC).crop((2, 1, 10, 9))
    expected = np.asarray(image).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(everything(dataset)[0], expected, atol=1e-6)
    assert dataset.domain == (-1.0, 1.0)
    assert dataset.normalisation.mean == (0.5, 0.4, 0.3)
    assert json.loads(json.dumps(dataset.preprocessing)) == {
        "source": {"labels": "class folders", "config": "preprocessor_config.json", "size_declared": True},
        "stored": "images",
        "steps": [
            {"step": "resize", "shorter_side": 10, "interpolation": "bicubic"},
            {"step": "crop", "size": [8, 8]},
            {"step": "channel_order", "order": "RGB"},
            {"step": "layout", "layout": "NCHW", "shape": [3, 8, 8]},
            {"step": "scale", "from": [0, 255], "to": [-1.0, 1.0]},
        ],
    }


def test_only_fetched_images_are_decoded(folder):
    (folder / "dog/sub/c.png").write_bytes(b"no image")
    dataset = read_dataset(folder)
    assert dataset.fetch(np.array([0, 1])).shape == (2, 3, 12, 16)
    with pytest.raises(DatasetError, match=r"dog/sub/c\.png is not a readable image"):
        everything(dataset)


def test_a_truncated_image_is_named(folder):
    content = (folder / "cat/b.png").read_bytes()
    (folder / "cat/b.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"cat/b\.png is a damaged image"):
        everything(read_dataset(folder))


def test_an_image_that_vanished_is_named(folder):
    dataset = read_dataset(folder)
    (folder / "cat/b.png").unlink()
    with pytest.raises(DatasetError, match=r"cat/b\.png cannot be read: No such file"):
        everything(dataset)


def test_sixteen_bit_images_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="mode I;16, not eight bits per channel"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("width", [15_000, 30_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_undecoded(tmp_path, width):
    blob = io.BytesIO()
    Image.new("1", (8, 8)).save(blob, "BMP")
    bomb = bytearray(blob.getvalue())
    bomb[18:26] = width.to_bytes(4, "little") + width.to_bytes(4, "little")
    (tmp_path / "a.bmp").write_bytes(bomb)
    with pytest.raises(DatasetError, match=rf"a\.bmp .*{MAX_PIXELS}"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("declared", "shape", "message"),
    [
        ({"resize": 8}, (3, 8, 8), r"a\.png comes out at 8 x 10 pixels .*takes 8 x 8: declare another resize"),
        ({"crop": (20, 8)}, (3, 20, 8), r"a\.png has 12 x 16 pixels .* too few for a crop of 20 x 8"),
        ({}, (3, 32, 3), r"\(3, 32, 3\) does not tell where its channels are"),
        ({}, (4, 4, 4), "does not tell where its channels are"),
        ({}, (2, 3, 8, 8), "has 4 axes besides the batch"),
        ({}, (100,), "takes 100 values, but its images have 12 x 16 pixels"),
        ({"grayscale": False}, (1, 8, 8), "has 1 channels, which its colour images do not have"),
    ],
)
def test_images_that_do_not_fit_the_model_are_refused(tmp_path, declared, shape, message):
    save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=message):
        everything(read_dataset(tmp_path, shape=shape, preprocessing=Preprocessing(**declared)))


def test_channels_that_images_lack_are_refused(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="has 4 channels"):
        read_dataset(tmp_path, shape=(4, 8, 8), layout="NCHW")


def test_images_of_different_sizes_need_a_declared_size(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", picture(9, 9))
    with pytest.raises(DatasetError, match=r"b\.png comes out at 9 x 9"):
        everything(read_dataset(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["readme.md"], "holds no images"),
        (["a.png", "cat/b.png"], r"both in folders \('cat'\) and beside them"),
        (["train/cat/a.png", "test/cat/b.png"], "divided into test, train, which are splits"),
    ],
)
def test_folders_that_make_no_dataset_are_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "labels.csv is empty"),
        ("what,ever\na.png,1\n", {}, r"first row \(what, ever\) neither names an image"),
        ("filename,label\na.png,1\nz.png,2\n", {}, r"labels\.csv, row 3: there is no image 'z\.png'"),
        ("filename,label\na.png\n", {}, "row 2: 1 fields"),
        ("filename,label\na.png,1\na.png,2\n", {}, r"lists 'a\.png' twice"),
        ("filename,label\na.png,\n", {}, "label of example 0 is empty"),
        ("filename,label\na.png,1\n", {"label_column": "breed"}, "one for the label"),
        (None, {"label_column": "breed"}, "no label column 'breed'"),
        (None, {"labels": "gone.csv"}, "gone.csv cannot be read"),
    ],
)
def test_label_tables_that_do_not_fit_are_refused(tmp_path, text, options, message):
    save(tmp_path / "a.png")
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path, **options)


def test_a_class_list_with_a_repeated_name_is_refused(folder):
    (folder / "classes.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(DatasetError, match="names a class twice"):
        read_dataset(folder)


def test_a_label_table_that_is_not_utf8_is_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_bytes("filename,label\na.png,größe".encode("utf-16"))
    with pytest.raises(DatasetError, match="is not UTF-8"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "x/../../a.png", "C:/a.png", "x\\a.png"])
def test_zip_names_that_lead_outside_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(DatasetError, match="leads out of the archive"):
        read_dataset(tmp_path / "d.zip")


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DatasetError, match=r"'a\.png' is a link"):
        read_dataset(tmp_path / "d.zip")


def test_a_member_beyond_the_size_limit_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("auditor.data.members.MAX_MEMBER_BYTES", 10)
    for path in (folder, zipped(folder, tmp_path / "d.zip")):
        with pytest.raises(DatasetError, match=r"\.png has 0 MiB, .*one file may have"):
            read_dataset(path)


def test_too_many_members_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("auditor.data.members.MAX_MEMBERS", 2)
    with pytest.raises(DatasetError, match="holds 3 files, more than the 2 allowed"):
        read_dataset(zipped(folder, tmp_path / "d.zip"))


def test_a_zip_that_is_none_is_refused(tmp_path):
    (tmp_path / "d.zip").write_text("nothing")
    with pytest.raises(DatasetError, match=r"d\.zip is not a zip archive"):
        read_dataset(tmp_path / "d.zip")


def test_a_damaged_member_is_named(tmp_path):
    save(tmp_path / "f/cat/a.png")
    save(tmp_path / "f/dog/b.png")
    path = zipped(tmp_path / "f", tmp_path / "d.zip")
    content = bytearray(path.read_bytes())
    content[content.find(b"IDAT") + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"\.png is damaged or encrypted"):
        read_dataset(path)


def test_examples_are_read_in_whatever_order_they_are_asked_for(folder, tmp_path):
    for dataset in (read_dataset(folder), read_dataset(zipped(folder, tmp_path / "pets.zip"))):
        x = everything(dataset)
        for order in ([2, 0, 1], [1], [2, 2, 0]):
            assert np.array_equal(dataset.fetch(np.array(order)), x[order])


def test_a_label_table_may_hold_several_labels_at_once(folder):
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.png"))]
    lines = "\n".join(f"{name},{k % 2},{k % 3 == 0:d}" for k, name in enumerate(names))
    (folder / "labels.csv").write_text(f"filename,cat,dog\n{lines}\n")
    dataset = read_dataset(folder, label_column="cat,dog")
    assert (dataset.labels, dataset.class_names) == (2, ("cat", "dog"))
    assert dataset.y.tolist() == [k % 2 + 2 * (k % 3 == 0) for k in range(len(names))]
    (folder / "labels.csv").write_text(f"filename,cat,dog\n{names[0]},0,yes\n")
    with pytest.raises(DatasetError, match="the label dog is 'yes'"):
        read_dataset(folder, label_column="cat,dog")
