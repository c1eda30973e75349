"""Images inside Parquet files, as the Hugging Face Hub keeps them: a column of encoded bytes beside a column of labels.

A split lies in one file or in several shards, `NAME-00000-of-00005.parquet`. Bytes are read a row group at a time, and only
of the images that are asked for.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.folders import Listing
from auditor.data.labels import integer_labels
from auditor.data.members import MAX_MEMBER_BYTES, Members
from auditor.data.tables import stored_column
from auditor.errors import DatasetError

SUFFIXES = (".parquet", ".pq")
MAX_GROUP_BYTES = 4 << 30

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})")
_LABELS = ("label", "labels", "y", "target", "class")
_KEPT = 4  # row groups whose bytes stay in memory


def shards_of(path: Path) -> list[Path]:
    """The Parquet files of a folder, or all shards of the split that a file is one of, in order; empty where there are none.

    Raises DatasetError where a shard is missing, or a folder holds several splits.
    """
    if path.is_dir():
        found = sorted(
            p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and not _hidden(p, path)
        )
        stems = {_split(p) for p in found}
        if len(stems) > 1:
            listed = ", ".join(sorted(stems)[:4])
            raise DatasetError(
                f"{path.name} holds Parquet files of several splits or tables ({listed}): give the path of one file; its other "
                "shards are found by themselves."
            )
        return _whole(found)
    if path.suffix.lower() not in SUFFIXES:
        return []
    if _SHARD.fullmatch(path.stem) is None:
        return [path]
    return _whole(sorted(p for p in path.parent.glob(f"*{path.suffix}") if _split(p) == _split(path)))


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _split(file: Path) -> str:
    found = _SHARD.fullmatch(file.stem)
    return file.stem if found is None else f"{found[1]} of {int(found[3])}"


def _whole(files: list[Path]) -> list[Path]:
    """The shards, none of them missing."""
    numbered = [found for file in files if (found := _SHARD.fullmatch(file.stem))]
    if numbered:
        there, count = {int(found[2]) for found in numbered}, int(numbered[0][3])
        missing = sorted(set(range(count)) - there)
        if missing:
            raise DatasetError(
                f"of {numbered[0][1]} {len(missing)} of {count} shards are missing, the first "
                f"{numbered[0][1]}-{missing[0]:05}-of-{count:05}{files[0].suffix}; download it too."
            )
    return files


def image_column(path: Path) -> str | None:
    """The column of a Parquet file that holds images; None where there is none. DatasetError for several, and for what is
    no Parquet file."""
    found = [field.name for field in _opened(path).schema_arrow if _holds_images(field.type)]
    if len(found) > 1:
        raise DatasetError(f"{path.name} has several columns of images: {', '.join(found)}; leave one.")
    return found[0] if found else None


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    names = [field.name for field in kind]
    inside = kind.field("bytes").type if "bytes" in names else None
    return inside is not None and (pa.types.is_binary(inside) or pa.types.is_large_binary(inside))


def read_shards(
    files: Sequence[Path], label_column: str | None, beside: Sequence[str] = ()
) -> tuple[Members, Listing]:
    """The images of all shards under the names FILE#ROW, and their labels; class names come from the Hub's own metadata
    (ClassLabel) where they are there. beside: further columns."""
    column = image_column(files[0])
    assert column is not None, "a Parquet file of images"
    groups, labels = _Groups(column), []
    others: dict[str, list[NDArray[Any]]] = {name: [] for name in beside}
    label, names = _labels_of(files[0], column, label_column)
    listed: list[str] = []
    for file in files:
        opened = _opened(file)
        wanted = [column, *([] if label is None else [label]), *beside]
        absent = [name for name in wanted if name not in opened.schema_arrow.names]
        if absent:
            there = ", ".join(opened.schema_arrow.names)
            raise DatasetError(f"{file.name} has no column '{absent[0]}'; its columns are {there}.")
        rows = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
        groups.add(file, rows)
        listed += [f"{file.name}#{row}" for row in range(sum(rows))]
        if label is not None:
            labels.append(_numbers_of(opened, label, file.name))
        for name, parts in others.items():
            parts.append(stored_column(opened.read(columns=[name]).column(name), name, file.name))
    y, found = (None, None) if label is None else integer_labels(np.concatenate(labels), files[0].name)
    members = Members(tuple(listed), groups.read)
    columns = {name: np.concatenate(parts) for name, parts in others.items()}
    return members, Listing(tuple(listed), y, names or found, label, columns)


def _labels_of(file: Path, image: str, named: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """The label column, and the names of its classes."""
    opened = _opened(file)
    columns = opened.schema_arrow.names
    kinds = _features(opened.schema_arrow)
    if named is None:
        usual = [name for name in columns if name.lower() in _LABELS and name != image]
        found = usual or [name for name in columns if kinds.get(name, {}).get("_type") == "ClassLabel"]
        if len(found) > 1:
            raise DatasetError(
                f"{file.name}: each of {', '.join(found)} could hold the labels; name one with --label-column."
            )
        named = found[0] if found else None
    elif named not in columns:
        raise DatasetError(f"{file.name} has no column '{named}'; its columns are {', '.join(columns)}.")
    if named is None:
        return None, None
    names = kinds.get(named, {}).get("names")
    return named, tuple(map(str, names)) if isinstance(names, list) else None


def _features(schema: Any) -> dict[str, Any]:
    """What the Hub's `datasets` library says of each column."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: kind for name, kind in features.items() if isinstance(kind, dict)}


def _numbers_of(opened: Any, label: str, name: str) -> NDArray[Any]:
    import pyarrow as pa

    column = opened.read(columns=[label]).column(label)
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DatasetError(f"{name}, row {row}: the label '{label}' is missing; fill it in or remove the row.")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=str)
    if not pa.types.is_integer(column.type):
        raise DatasetError(f"{name}: the labels '{label}' are {column.type}, neither whole numbers nor names.")
    return column.to_numpy()


@dataclass(frozen=True)
class _Place:
    file: Path
    group: int
    row: int


class _Groups:
    """Where each row is, and the row groups that were read last."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._starts: dict[str, tuple[Path, NDArray[np.int64]]] = {}
        self._kept: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def add(self, file: Path, rows: Sequence[int]) -> None:
        if file.name in self._starts:
            raise DatasetError(f"two Parquet files are called {file.name}; give each its own name.")
        self._starts[file.name] = file, np.cumsum([0, *rows])

    def read(self, name: str) -> bytes:
        """The bytes of one image."""
        place = self._place(name)
        content = self._group(place)[place.row]
        if not content.is_valid:
            raise DatasetError(f"{name} holds no bytes, only a path: download the images into the table.")
        if len(content.as_buffer()) > MAX_MEMBER_BYTES:
            raise DatasetError(f"{name} has more than the {MAX_MEMBER_BYTES >> 20} MiB one image may have.")
        return content.as_py()

    def _place(self, name: str) -> _Place:
        file, _, row = name.rpartition("#")
        path, starts = self._starts[file]
        group = int(np.searchsorted(starts, int(row), side="right")) - 1
        return _Place(path, group, int(row) - int(starts[group]))

    def _group(self, place: _Place) -> Any:
        key = place.file, place.group
        if key not in self._kept:
            opened = _opened(place.file)
            if opened.metadata.row_group(place.group).total_byte_size > MAX_GROUP_BYTES:
                raise DatasetError(
                    f"{place.file.name}: its row group {place.group} has more than the {MAX_GROUP_BYTES >> 30} GiB allowed; write "
                    "it with fewer rows per group."
                )
            table = _guarded(place.file, lambda: opened.read_row_group(place.group, columns=[self._column]))
            self._kept[key] = table.column(self._column).combine_chunks().field("bytes")
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _opened(path: Path) -> Any:
    from pyarrow import parquet

    return _guarded(path, lambda: parquet.ParquetFile(path))


def _guarded(path: Path, work: Any) -> Any:
    import pyarrow as pa

    try:
        return work()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a Parquet table: {error}.") from None
