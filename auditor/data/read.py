"""From a path to a dataset: which reader, by what the path is."""

from collections.abc import Sequence
from pathlib import Path

from auditor.data.arrays import read_npy, read_npz
from auditor.data.dataset import Dataset
from auditor.data.decoding import Decoder, Here
from auditor.data.domain import UNDECLARED, Domain, check_domain
from auditor.data.folders import is_image, list_images
from auditor.data.images import read_images
from auditor.data.layout import Shape
from auditor.data.members import members_of_folder, members_of_zip
from auditor.data.preprocessing import Preprocessing
from auditor.data.shards import SUFFIXES, image_column, read_shards, shards_of
from auditor.data.tables import TABLES, read_table
from auditor.errors import DatasetError
from auditor.spec import Layout

_ACCEPTED = "an .npz with x and y, an .npy with its labels beside it, a folder or .zip of images, a .csv, .tsv or .parquet table, .parquet shards of images"


def read_dataset(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    shape: Shape | None = None,
    layout: Layout | None = None,
    domain: Domain = UNDECLARED,
    preprocessing: Preprocessing | None = None,
    label_column: str | None = None,
    columns: Sequence[str] = (),
    beside: Sequence[str] = (),
    decoder: Decoder | None = None,
) -> Dataset:
    """A user's data as examples in the model's layout.

    path: `.npz`, `.npy`, CSV, Parquet, a folder or zip of images, Parquet shards of images or a folder of them. labels: a `.npy` for arrays, a CSV of filename and
    label for images; found by themselves in the usual places. shape: the model's input shape of one example, None
    entries free. layout: the model's, "NCHW" or "NHWC"; found from the shape when None. domain: (lower, upper), or
    None for "declared to be without limits"; must be declared unless the data are eight-bit. preprocessing: what the
    user declared; a preprocessor_config.json among the images fills what it leaves open. label_column: for tables and CSVs.
    columns: those that a model names as its inputs, which a table is then asked for, in that order. beside: columns that hold
    something else about each example: of a table, of a CSV of labels, or arrays of an `.npz`. decoder: of images, this process
    unless said.

    Nothing is sampled or decoded here but what the digest and the labels need. Raises DatasetError.
    """
    path = Path(path)
    labels = None if labels is None else Path(labels)
    preprocessing, decoder = preprocessing or Preprocessing(), decoder or Here()
    check_domain(domain)
    if not path.exists():
        raise DatasetError(f"There is no file or folder {path}; check the path.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        members = members_of_folder(path) if path.is_dir() else members_of_zip(path, path.name)
        without = path.is_dir() and labels is None and not any(map(is_image, members.names))
        shards = shards_of(path) if without else []
        if shards:
            members, listing = read_shards(_of_images(shards), label_column, beside)
        else:
            listed = None if labels is None else (labels.name, _content(labels))
            listing = list_images(members, path.name, listed, label_column, beside)
        return read_images(members, listing, path.name, shape, layout, domain, preprocessing, decoder)
    if suffix in SUFFIXES and labels is None and image_column(path) is not None:
        members, listing = read_shards(shards_of(path), label_column, beside)
        return read_images(members, listing, path.name, shape, layout, domain, preprocessing, decoder)
    if suffix in TABLES:
        if labels is not None:
            raise DatasetError(
                f"{path.name} is a table: its labels are one of its columns; name it as the label column."
            )
        return read_table(path, label_column, shape, layout, domain, preprocessing, columns, beside)
    if suffix not in (".npz", ".npy"):
        raise DatasetError(f"{path.name} has a form that is not read. Accepted are {_ACCEPTED}.")
    if label_column is not None:
        raise DatasetError(f"{path.name} has no columns, so no label column '{label_column}'; give the labels' path.")
    read = read_npz if suffix == ".npz" else read_npy
    return read(path, labels, shape, layout, domain, preprocessing, beside)


def _of_images(shards: list[Path]) -> list[Path]:
    if image_column(shards[0]) is None:
        raise DatasetError(
            f"{shards[0].name} holds no column of images; give the path of one table, not of its folder."
        )
    return shards


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"The labels {path} cannot be read: {error.strerror}.") from None
