"""Which files of a folder or zip are images, and what their labels are."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.labels import named_labels, sets_of, several_columns
from auditor.data.members import Members
from auditor.data.preprocessor_config import CONFIG_NAME
from auditor.data.tables import read_csv_rows
from auditor.errors import DatasetError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
LABEL_FILES = ("labels.csv", "metadata.csv")
CLASS_FILE = "classes.txt"

_FILE_COLUMNS = ("filename", "file_name", "file", "image", "path", "name")
_LABEL_COLUMNS = ("label", "y", "target", "class")
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True)
class Listing:
    """images: the names in order. y, class_names, labels, columns: as in Dataset. labels_from: where the labels came from."""

    images: tuple[str, ...]
    y: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    labels_from: str | None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    labels: int | None = None


def list_images(
    members: Members,
    name: str,
    labels: tuple[str, bytes] | None,
    label_column: str | None,
    beside: Sequence[str] = (),
) -> Listing:
    """Labels come from `labels` (name, content of a CSV) if given, else labels.csv or metadata.csv among the files,
    else the names of the class folders; images beside each other have none.

    Class indices follow classes.txt (a name per line) if there, else sorted order. beside: further columns of the CSV.
    Raises DatasetError.
    """
    images = tuple(filter(is_image, members.names))
    if not images:
        raise DatasetError(
            f"{name} holds no images ({', '.join(IMAGE_SUFFIXES)}) among its {len(members.names)} files. Arrays are "
            "given by their own path, such as x.npy or data.npz."
        )
    class_names = _class_list(members, name)
    if labels is None:
        labels = next(((item, members.read(item)) for item in LABEL_FILES if item in members.names), None)
    if labels is not None:
        return _from_csv(images, labels[0], labels[1], label_column, class_names, beside)
    asked = [
        *([] if label_column is None else [f"label column '{label_column}'"]),
        *(f"column '{c}'" for c in beside),
    ]
    if asked:
        raise DatasetError(f"{name} has no labels.csv, so no {asked[0]}; add one, or leave it out.")
    folders = list(map(_folder, images))
    if not any(folders):
        return Listing(images, None, class_names, None)
    _check_folders(folders, name)
    y, names = named_labels(folders, class_names)
    return Listing(images, y, names, "class folders")


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def digest_members(members: Members, listing: Listing) -> str:
    """SHA-256 over the names and bytes of the images and the files that give them meaning, one file at a time."""
    digest = hashlib.sha256()
    sidecars = (*LABEL_FILES, CLASS_FILE, CONFIG_NAME)
    for name in sorted((*listing.images, *(item for item in sidecars if item in members.names))):
        content = members.read(name)
        digest.update(f"{len(name.encode())} {name} {len(content)}\n".encode())
        digest.update(content)
    if listing.y is not None:
        digest.update(listing.y.tobytes())
    return digest.hexdigest()


def _class_list(members: Members, name: str) -> tuple[str, ...] | None:
    if CLASS_FILE not in members.names:
        return None
    lines = members.read(CLASS_FILE).decode("utf-8", "replace").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names):
        raise DatasetError(f"{name}: {CLASS_FILE} names a class twice; give one line per class.")
    return names


def _check_folders(folders: list[str], name: str) -> None:
    if "" in folders:
        raise DatasetError(
            f"{name} has images both in folders ('{next(filter(None, folders))}') and beside them: put every image "
            "into the folder of its class, or give a labels.csv."
        )
    if {folder.lower() for folder in folders} <= _SPLITS:
        raise DatasetError(
            f"{name} is divided into {', '.join(sorted(set(folders)))}, which are splits, not classes: give the path "
            "of one of them."
        )


def _from_csv(
    images: tuple[str, ...],
    file: str,
    content: bytes,
    label_column: str | None,
    class_names: tuple[str, ...] | None,
    beside: Sequence[str],
) -> Listing:
    rows = read_csv_rows(content, file)
    if not rows:
        raise DatasetError(f"{file} is empty: expected rows of filename,label.")
    known = set(images)
    start, file_column = 0, 0
    column: int | None = 1
    several = several_columns(label_column, rows[0])
    beside = tuple(dict.fromkeys((*beside, *several)))
    if label_column is not None or beside or rows[0][0].strip() not in known:
        start = 1
        wanted = None if several else label_column
        file_column, column = _columns(rows[0], file, wanted, without=bool(beside))
    places = [_place(rows[0], file, name) for name in beside]
    last = max(place for place in (file_column, column, *places) if place is not None)
    chosen, labels, others = [], [], []
    for number, row in enumerate(rows[start:], start + 1):
        if len(row) <= last:
            raise DatasetError(f"{file}, row {number}: {len(row)} fields, expected a filename and a label.")
        image = row[file_column].strip().removeprefix("./")
        if image not in known:
            raise DatasetError(
                f"{file}, row {number}: there is no image '{image}'. Names are relative to the folder, such as "
                f"'{images[0]}'."
            )
        chosen.append(image)
        labels.append(_folder(image) if column is None else row[column].strip())
        others.append([row[place].strip() for place in places])
    if len(set(chosen)) != len(chosen):
        raise DatasetError(f"{file} lists '{_first_repeated(chosen)}' twice; give each image one label.")
    columns = dict(zip(beside, np.array(others, dtype=str).reshape(len(chosen), len(places)).T, strict=True))
    if several:
        sets, count = sets_of(np.stack([columns[name] for name in several], axis=1).tolist(), several, file)
        return Listing(tuple(chosen), sets, several, file, columns, count)
    if column is None and not any(labels):
        return Listing(tuple(chosen), None, class_names, None, columns)
    if column is None:
        _check_folders(labels, file)
    y, names = named_labels(labels, class_names)
    return Listing(tuple(chosen), y, names, "class folders" if column is None else file, columns)


def _folder(image: str) -> str:
    """The class folder that an image lies in, "" where it lies in none."""
    return PurePosixPath(image).parts[0] if "/" in image else ""


def _place(header: list[str], file: str, wanted: str) -> int:
    names = [field.strip() for field in header]
    if names.count(wanted) != 1:
        raise DatasetError(f"{file} has no column '{wanted}'; its columns are {', '.join(names)}.")
    return names.index(wanted)


def _columns(header: list[str], file: str, label_column: str | None, *, without: bool) -> tuple[int, int | None]:
    """Where the names of files and the labels are. without: whether there may be no labels, which then are the class folders."""
    names = [field.strip().lower() for field in header]
    files = [position for position, name in enumerate(names) if name in _FILE_COLUMNS]
    wanted = _LABEL_COLUMNS if label_column is None else (label_column.lower(),)
    labels = [position for position, name in enumerate(names) if name in wanted]
    if len(files) == 1 and without and not labels and label_column is None:
        return files[0], None
    if len(files) != 1 or len(labels) != 1:
        raise DatasetError(
            f"{file}: its first row ({', '.join(header)}) neither names an image nor has one column for the file "
            f"({', '.join(_FILE_COLUMNS)}) and one for the label ({', '.join(wanted)})."
        )
    return files[0], labels[0]


def _first_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
