"""The files of an audit: report.json, adversarial.npz and outcomes.parquet.

A reader sees a whole file or none. Equal values give equal bytes (with one version of NumPy and Arrow).
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auditor.audits.atomic import replacing
from auditor.audits.outcomes import Outcomes
from auditor.report.schema import Report
from auditor.spec import Norm

_AT_ONCE = 32  # examples in memory while they are written


def write_report(path: Path, report: Report) -> None:
    """report.json, two spaces to a level."""
    with replacing(path) as file:
        file.write(report.model_dump_json(indent=2).encode() + b"\n")


def write_adversarial(
    path: Path,
    found: Mapping[Norm, Mapping[str, np.ndarray]],
    shape: tuple[int, ...],
    fetch: Callable[[np.ndarray], np.ndarray],
) -> None:
    """adversarial.npz: each broken example's smallest counted adversarial example, one row per example and norm.

    found: norm -> columns index, x_adv (m, *shape) float32, distance, label, predicted, attack; {} where none; fetch:
    positions in the dataset -> examples (m, *shape) float32. The file has the same columns, `norm` and `x`, the example
    before its change, (rows,) each. It is not compressed, so that a row's place can be computed.
    """
    none = {
        "index": np.zeros(0, np.int64),
        "x_adv": np.zeros((0, *shape), np.float32),
        "distance": np.zeros(0, np.float64),
        "label": np.zeros(0, np.int64),
        "predicted": np.zeros(0, np.int64),
        "attack": np.zeros(0, "U1"),
    }
    parts = [(norm, columns) for norm, columns in found.items() if columns]
    joined = {name: np.concatenate([empty, *(part[name] for _, part in parts)]) for name, empty in none.items()}
    joined["norm"] = np.array([norm for norm, part in parts for _ in range(len(part["index"]))], "U4")
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, column in joined.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)
        index = joined["index"]
        with archive.open("x.npy", "w", force_zip64=True) as member:
            head = {"descr": "<f4", "fortran_order": False, "shape": (len(index), *shape)}
            np.lib.format.write_array_header_1_0(member, head)
            for start in range(0, len(index), _AT_ONCE):
                member.write(np.ascontiguousarray(fetch(index[start : start + _AT_ONCE]), "<f4").tobytes())


def write_outcomes(
    path: Path,
    label: np.ndarray,
    predicted: np.ndarray,
    outcomes: Sequence[Outcomes],
    *,
    target: np.ndarray | None = None,
    weight: Sequence[float] | None = None,
    group: Sequence[str] | None = None,
) -> None:
    """outcomes.parquet: the columns of `outcomes_table`."""
    import pyarrow.parquet as pq

    table = outcomes_table(label, predicted, outcomes, target=target, weight=weight, group=group)
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def outcomes_table(
    label: np.ndarray,
    predicted: np.ndarray,
    outcomes: Sequence[Outcomes],
    *,
    target: np.ndarray | None = None,
    weight: Sequence[float] | None = None,
    group: Sequence[str] | None = None,
) -> Any:
    """One row per example and norm, as an Arrow table.

    label, predicted: (n,) int64, predicted when clean; target: (n,) int64 the class to be reached, null where any but the
    label will do; outcomes: one per norm over the same n examples; weight, group: (n,), columns that are there only where
    examples have them. Whether an example is broken at an eps is `distance <= eps`; distance, attack and margin are null where nothing was found.
    """
    import pyarrow as pa

    columns = {"weight": (weight, pa.float64()), "group": (group, pa.string())}
    more = {name: pa.array(values, kind) for name, (values, kind) in columns.items() if values is not None}
    tables = [
        pa.table(
            {
                "index": pa.array(part.index, pa.int64()),
                "norm": pa.array([part.threat.norm] * len(part), pa.string()),
                "label": pa.array(label, pa.int64()),
                "predicted": pa.array(predicted, pa.int64()),
                "target": _counts(target, len(part)),
                "status": pa.array([str(status) for status in part.statuses()], pa.string()),
                "distance": _numbers(part.distance, len(part)),
                "attack": pa.array([attack or None for attack in part.attack.tolist()], pa.string()),
                "complete": pa.array(part.complete, pa.bool_()),
                "certified_radius": _numbers(part.certified_radius, len(part)),
                "margin": _numbers(part.margin, len(part)),
                "adversarial": _classes(part.adversarial, len(part)),
                "confidence": _numbers(part.confidence, len(part)),
                "forwards": _counts(part.forwards, len(part)),
                "backwards": _counts(part.backwards, len(part)),
                **more,
            }
        )
        for part in outcomes
    ]
    return pa.concat_tables(tables)


def _numbers(values: np.ndarray | None, n: int) -> object:
    import pyarrow as pa

    if values is None:
        return pa.nulls(n, pa.float64())
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def _classes(values: np.ndarray | None, n: int) -> object:
    import pyarrow as pa

    return pa.nulls(n, pa.int64()) if values is None else pa.array(values, pa.int64(), mask=values < 0)


def _counts(values: np.ndarray | None, n: int) -> object:
    import pyarrow as pa

    return pa.nulls(n, pa.int64()) if values is None else pa.array(values, pa.int64())
