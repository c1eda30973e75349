"""A dataset of any form as one file, which is what a service takes."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from auditor.data.members import members_of_folder, members_of_zip

_LABELS = "labels.csv"


@contextmanager
def packed(path: Path, labels: Path | None) -> Iterator[Path]:
    """The file itself where it is whole, else a temporary one: folders, and what has its labels beside it.

    The same dataset gives the same bytes. Raises DatasetError.
    """
    suffix = path.suffix.lower()
    with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
        if path.is_dir() or (suffix == ".zip" and labels is not None):
            yield _zipped(path, labels, Path(folder) / f"{path.stem}.zip")
        elif suffix == ".npy" or (suffix == ".npz" and labels is not None):
            yield _with_labels(path, labels, Path(folder) / f"{path.stem}.npz")
        else:
            yield path


def _zipped(path: Path, labels: Path | None, to: Path) -> Path:
    """Images, which are compressed already, are stored as they are."""
    members = members_of_folder(path) if path.is_dir() else members_of_zip(path, path.name)
    with ZipFile(to, "w") as archive:
        for name in members.names:
            if labels is None or name != _LABELS:
                archive.writestr(ZipInfo(name), members.read(name))
        if labels is not None:
            archive.writestr(ZipInfo(_LABELS), labels.read_bytes())
    return to


def _with_labels(path: Path, labels: Path | None, to: Path) -> Path:
    import numpy as np

    from auditor.data.arrays import npy_arrays, npz_arrays

    x, y, _ = (npz_arrays if path.suffix.lower() == ".npz" else npy_arrays)(path, labels)
    np.savez(to, **({"x": x} if y is None else {"x": x, "y": y}))  # type: ignore[arg-type]
    return to
