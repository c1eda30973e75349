"""Datasets of numbers: `.npz` archives and `.npy` pairs."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from auditor.data.dataset import Dataset, digest_arrays
from auditor.data.domain import Box, Domain, declared_domain, domain_of_levels, level_values
from auditor.data.labels import read_labels
from auditor.data.layout import Shape, arrange
from auditor.data.preprocessing import Preprocessing
from auditor.errors import DatasetError
from auditor.spec import Layout

MAX_ARRAY_BYTES = 16 << 30
_MOST_UNPACKED = 64 << 20  # bytes, for one example

# Inputs, labels (None without), and which arrays they were.
Stored = tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]

_INPUTS = ("x", "images", "image", "data", "inputs", "x_test", "test_images")
_LABELS = ("y", "labels", "label", "targets", "target", "y_test", "test_labels")
_SIBLINGS = {
    "x": ("y", "labels"),
    "images": ("labels",),
    "image": ("label",),
    "data": ("labels", "targets", "target"),
    "inputs": ("labels", "targets"),
}


def read_npz(
    path: Path,
    labels: Path | None,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    preprocessing: Preprocessing,
    beside: Sequence[str] = (),
) -> Dataset:
    """An `.npz` archive with inputs and, unless `labels` is given or there are none, their labels. beside: further arrays."""
    x, stored_y, record = npz_arrays(path, labels)
    columns = _arrays_beside(path, beside) if beside else {}
    return dataset_of_arrays(path.name, x, stored_y, shape, layout, domain, preprocessing, record, columns)


def read_npy(
    path: Path,
    labels: Path | None,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    preprocessing: Preprocessing,
    beside: Sequence[str] = (),
) -> Dataset:
    """A `.npy` file, memory-mapped, with its labels in `labels` or in a sibling (x.npy, y.npy; x_test, y_test)."""
    if beside:
        raise DatasetError(
            f"{path.name} holds one array, so that there is no '{beside[0]}' in it; store inputs, labels and it in one .npz."
        )
    x, stored_y, record = npy_arrays(path, labels)
    return dataset_of_arrays(path.name, x, stored_y, shape, layout, domain, preprocessing, record)


def npz_arrays(path: Path, labels: Path | None) -> Stored:
    """The arrays of an `.npz` archive as they are stored."""
    with _opened(path) as archive:
        headers = _headers(archive, path)
        inputs, targets = _choose(headers, path)
        _check_size(headers[inputs], path, inputs)
        if targets and labels is None:
            _check_size(headers[targets], path, targets)
        x = _load_member(archive, inputs, path)
        stored_y = _load_member(archive, targets, path) if targets and labels is None else None
    if labels is not None:
        stored_y = _load_npy(labels)
    return x, stored_y, {"inputs": inputs, "labels": targets if labels is None else labels.name}


def stored_row(file: BinaryIO, name: str, index: int) -> NDArray[Any]:
    """One example of an `.npz` archive as it is stored, read without the others where the archive is not compressed.

    file: the archive, open for reading and seeking; name: for messages. Raises DatasetError, also where more than 64 MiB
    would have to be read for it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            inputs, _ = _choose(_headers(archive, Path(name)), Path(name))
            info = archive.getinfo(f"{inputs}.npy")
            with archive.open(info) as member:
                shape, fortran, dtype = _header(member)
                size = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
                begins = member.tell() + index * size
                unpacked = size if info.compress_type == zipfile.ZIP_STORED else begins + size
                if fortran or dtype.hasobject or not 0 <= index < shape[0] or unpacked > _MOST_UNPACKED:
                    raise DatasetError(f"{name} does not hold example {index} where it could be read by itself.")
                member.seek(begins)
                return np.frombuffer(member.read(size), dtype).reshape(shape[1:])
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, zlib.error) as error:
        raise _damaged(Path(name), error) from None


def npy_arrays(path: Path, labels: Path | None) -> Stored:
    """The array of a `.npy` file and the one of its labels, as they are stored, both memory-mapped."""
    x = _load_npy(path)
    labels = labels or _sibling(path)
    stored_y = None if labels is None else _load_npy(labels)
    return x, stored_y, {"inputs": path.name, "labels": None if labels is None else labels.name}


def dataset_of_arrays(
    name: str,
    x: NDArray[Any],
    stored_y: NDArray[Any] | None,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    preprocessing: Preprocessing,
    record: dict[str, Any],
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> Dataset:
    """x: (N, *stored) of any numeric type; stored_y: (N,) integers or names, (N, labels) zeros and ones, or None; columns: as in
    Dataset. uint8 values are grey levels."""
    if x.dtype.kind not in "biuf":
        raise DatasetError(f"{name}: inputs of type {x.dtype} are not numbers; store them as uint8 or float32.")
    if x.ndim < 2:
        raise DatasetError(f"{name}: inputs of shape {x.shape} have no axis besides the examples; expected (N, ...).")
    eight_bit = x.dtype == np.uint8
    preprocessing.refuse_for_arrays(name, eight_bit=eight_bit)
    y, class_names, labels = (None, None, None) if stored_y is None else read_labels(stored_y, name)
    arrangement = arrange(x.shape[1:], shape, layout, name)
    steps = list(arrangement.steps)
    implied: Box | None = None
    levels: NDArray[np.float32] | None = None
    if eight_bit:
        box, ends = domain_of_levels(domain, preprocessing.ends, name)
        implied, levels = preprocessing.ends or (0.0, 1.0), level_values(ends)
        steps.append({"step": "scale", "from": [0, 255], "to": list(ends)})
    else:
        box = declared_domain(domain, name, str(x.dtype))

    def decode(index: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = arrangement.apply(x[index])
        return levels[rows] if levels is not None else np.ascontiguousarray(rows, dtype=np.float32)

    return Dataset(
        name=name,
        sha256=digest_arrays(x, y),
        size=len(x),
        shape=arrangement.shape,
        y=y,
        class_names=class_names,
        labels=labels,
        domain=box,
        implied_domain=implied,
        normalisation=preprocessing.normalisation,
        preprocessing={"source": record, "stored": str(x.dtype), "steps": steps},
        decode=decode,
        columns=columns or {},
    )


def _arrays_beside(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with _opened(path) as archive:
        headers = _headers(archive, path)
        for name in names:
            if name not in headers:
                raise DatasetError(f"{path.name} has no array '{name}'; its arrays are {', '.join(headers)}.")
            _check_size(headers[name], path, name)
        return {name: _load_member(archive, name, path) for name in names}


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{path.name} is not an .npz archive ({error}); write it with numpy.savez.") from None


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array, read without its values."""
    headers = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        try:
            with archive.open(info) as member:
                shape, _, dtype = _header(member)
        except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(path, error, name) from None
        headers[name] = (shape, dtype)
    return headers


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type; what follows are the values."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(member)
    return header


def _choose(headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], path: Path) -> tuple[str, str | None]:
    """The names of the inputs and of the labels (None without labels), only when nothing else could be meant."""
    inputs = [name for name in headers if name.lower() in _INPUTS]
    labels = [name for name in headers if name.lower() in _LABELS]
    unnamed = {name: header for name, header in headers.items() if name.startswith("arr_")}
    if not inputs and not labels and unnamed.keys() == headers.keys() and len(headers) <= 2:
        inputs = [name for name, (shape, _) in headers.items() if len(shape) >= 2]
        labels = [name for name, (shape, _) in headers.items() if len(shape) == 1]
    if len(inputs) == 1 and len(labels) <= 1:
        return inputs[0], labels[0] if labels else None
    listed = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in headers.items()) or "none"
    raise DatasetError(
        f"{path.name} does not tell which array holds the inputs and which the labels. Its arrays: {listed}. "
        "Store the inputs as 'x' and the labels as 'y'."
    )


def _check_size(header: tuple[tuple[int, ...], np.dtype[Any]], path: Path, name: str) -> None:
    shape, dtype = header
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise DatasetError(
            f"{path.name}: the array '{name}' of shape {shape} would take {size / 2**30:.0f} GiB of memory, more than "
            f"the {MAX_ARRAY_BYTES >> 30} GiB allowed; store it as an uncompressed .npy file, or fewer examples."
        )


def _load_member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    try:
        with archive.open(f"{name}.npy") as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error, name) from None
    return array


def _load_npy(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}; check the path.")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _damaged(path, error) from None
    if not isinstance(array, np.ndarray):
        raise DatasetError(f"{path.name} is an archive, not a single array; store the array with numpy.save.")
    return array


def _damaged(path: Path, error: Exception, name: str | None = None) -> DatasetError:
    where = path.name if name is None else f"{path.name}, array '{name}'"
    if any(sign in str(error) for sign in ("allow_pickle", "Object array", "Python object")):
        return DatasetError(
            f"{where}: Python objects are not read, since loading them can run code. Store plain numbers, for instance "
            "array.astype('float32')."
        )
    return DatasetError(f"{where} is damaged or not NumPy's format: {error}. Write it again with NumPy.")


def _sibling(path: Path) -> Path | None:
    """The labels beside x.npy, x_test.npy, test_images.npy and their kin."""
    words = path.stem.split("_")
    for position, word in enumerate(words):
        for other in _SIBLINGS.get(word.lower(), ()):
            cased = other.upper() if word == "X" and len(other) == 1 else other
            for candidate in (cased, other):
                stem = "_".join([*words[:position], candidate, *words[position + 1 :]])
                if (path.parent / f"{stem}.npy").is_file():
                    return path.parent / f"{stem}.npy"
    return None
