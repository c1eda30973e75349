"""Datasets of features: CSV and Parquet, one example per row."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data.arrays import MAX_ARRAY_BYTES, dataset_of_arrays
from auditor.data.dataset import Dataset
from auditor.data.domain import Domain
from auditor.data.labels import several_columns
from auditor.data.layout import Shape
from auditor.data.preprocessing import Preprocessing
from auditor.errors import DatasetError
from auditor.spec import Layout

TABLES = (".csv", ".tsv", ".parquet", ".pq")  # how their names end

_LABELS = ("label", "y", "target", "class")
_ROW_NUMBERS = ("", "unnamed: 0", "__index_level_0__")  # what pandas writes for an index


def read_table(
    path: Path,
    label_column: str | None,
    shape: Shape | None,
    layout: Layout | None,
    domain: Domain,
    preprocessing: Preprocessing,
    wanted: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> Dataset:
    """Every column but the label's is a feature, in the order of the file; a column of row numbers is left out. wanted: the
    columns that a model names; then these are the features, in this order, and the others are left out. beside: columns that
    hold something else about each example, and are no features."""
    table = _table(path)
    several = several_columns(label_column, table.column_names)
    label = None if several else _label_column(table.column_names, label_column, path.name)
    for column in several:
        _label_column(table.column_names, column, path.name)
    features: list[str] = []
    dropped: list[str] = []
    columns = {name: stored_column(_there(table, name, path.name), name, path.name) for name in beside}
    for column in table.column_names:
        if column != label and column not in several and column not in beside:
            unwanted = column not in wanted if wanted else column.lower() in _ROW_NUMBERS
            (dropped if unwanted else features).append(column)
    if wanted:
        features = _in_order(features, wanted, dropped, path.name)
    if not features:
        raise DatasetError(f"{path.name} has no column besides the label '{label}': an audit needs features.")
    if table.num_rows == 0:
        raise DatasetError(f"{path.name} holds no examples: an audit needs at least one row below the header.")
    x = np.empty((table.num_rows, len(features)), dtype=np.float32)
    for position, column in enumerate(features):
        x[:, position] = _numbers(table.column(column), column, path.name)
    stored_y: NDArray[Any] | None
    if several:
        stored_y = np.stack([stored_column(table.column(name), name, path.name) for name in several], axis=1)
    else:
        stored_y = None if label is None else stored_column(table.column(label), label, path.name)
    record = {"inputs": features, "labels": list(several) or label, "left_out": dropped}
    _check_columns(features, shape, path.name)
    dataset = dataset_of_arrays(path.name, x, stored_y, shape, layout, domain, preprocessing, record, columns)
    return replace(dataset, class_names=several) if several else dataset


def _in_order(features: list[str], wanted: Sequence[str], others: list[str], name: str) -> list[str]:
    missing = [column for column in wanted if column not in features]
    if missing:
        raise DatasetError(
            f"{name} has no column {_listed(missing)}, which the model takes; besides it has {_listed(others) or 'none'}. "
            "Name its columns as the model's inputs are named, or hold those of the model with --fix NAME=VALUE."
        )
    return list(wanted)


def columns(path: Path) -> tuple[list[str], int]:
    """The names of a table's columns and how many rows it has. Raises DatasetError for what is no table."""
    table = _table(path)
    return table.column_names, table.num_rows


def read_csv_rows(content: bytes, name: str) -> list[list[str]]:
    """The rows of a small CSV file, separated by commas, semicolons or tabs. Raises DatasetError unless it is UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{name} is not UTF-8 text; save it as UTF-8.") from None
    return [row for row in csv.reader(io.StringIO(text), delimiter=_delimiter(text)) if row]


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count)


def _table(path: Path) -> Any:
    return _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path)


def _csv(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            delimiter = _delimiter(file.readline())
        table = arrow_csv.read_csv(path, parse_options=arrow_csv.ParseOptions(delimiter=delimiter))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a CSV table: {error}. Write one row per example.") from None
    if all(_is_number(column) for column in table.column_names):
        raise DatasetError(
            f"{path.name} has no header: its first row ({', '.join(table.column_names[:4])}, …) is numbers. "
            "Add a row with the columns' names."
        )
    _check_unique(table.column_names, path.name)
    return table


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata
            if metadata.num_rows * metadata.num_columns * 4 > MAX_ARRAY_BYTES:
                raise DatasetError(
                    f"{path.name}: {metadata.num_rows} rows of {metadata.num_columns} columns are more than the "
                    f"{MAX_ARRAY_BYTES >> 30} GiB allowed; give fewer examples."
                )
            _check_unique(file.schema_arrow.names, path.name)
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a Parquet table: {error}.") from None


def _check_unique(columns: list[str], name: str) -> None:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DatasetError(f"{name} has more than one column '{twice[0]}'; give each its own name.")


def _label_column(columns: list[str], named: str | None, name: str) -> str | None:
    if named is not None:
        if named not in columns:
            raise DatasetError(f"{name} has no column '{named}'; its columns are {_listed(columns)}.")
        return named
    found = [column for column in columns if column.lower() in _LABELS]
    if len(found) > 1:
        raise DatasetError(f"{name}: each of {_listed(found)} could hold the labels; name one with --label-column.")
    return found[0] if found else None


def _check_columns(features: list[str], shape: Shape | None, name: str) -> None:
    if shape is None or any(side is None for side in shape):
        return
    wanted = int(np.prod([side for side in shape if side is not None], dtype=np.int64))
    if wanted != len(features):
        raise DatasetError(
            f"{name} has {len(features)} feature columns ({_listed(features)}), but the model's input takes {wanted} "
            f"values {tuple(shape)}: name the label with --label-column, and remove columns that are no features."
        )


def _numbers(column: Any, name: str, table: str) -> NDArray[Any]:
    import pyarrow as pa

    numeric = (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    )
    if not (numeric or pa.types.is_null(column.type)):
        raise DatasetError(
            f"{table}: the column '{name}' holds {column.type}, not numbers. Encode it as the model expects it, or name "
            "it with --label-column if it is the label."
        )
    _refuse_missing(column, name, table)
    return column.to_numpy()


def _there(table: Any, column: str, name: str) -> Any:
    if column not in table.column_names:
        raise DatasetError(f"{name} has no column '{column}'; its columns are {_listed(table.column_names)}.")
    return table.column(column)


def stored_column(column: Any, name: str, table: str) -> NDArray[Any]:
    """An Arrow column as an array of numbers or text. DatasetError where values are missing."""
    import pyarrow as pa

    _refuse_missing(column, name, table)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=str)
    return column.to_numpy()


def _refuse_missing(column: Any, name: str, table: str) -> None:
    if column.null_count:
        first = column.is_null().index(True).as_py()
        raise DatasetError(
            f"{table}: the column '{name}' has {column.null_count} missing values, the first in example {first}. "
            "Fill them in or remove those rows."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(columns: list[str], most: int = 8) -> str:
    return ", ".join(columns[:most]) + (f", … ({len(columns)} in all)" if len(columns) > most else "")
