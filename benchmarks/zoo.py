"""Files as users bring them, through the command line's own path: does each load, with gradient, and does an audit end?

    python benchmarks/zoo.py [FOLDER …] [--only TEXT] [--examples 8] [--seconds 20] [--prepare] [--problems]

FOLDER: every .onnx file in it and below; without one, tests/models and the models of AUDITOR_TESTDATA. Per file: its
opset, the batch that was asked for and the one reached, the access (white-box when the compiled gradient stood the
self-check), the self-check's relative error, whether an audit (preset quick) of random inputs with the model's own
answers as labels ended, seconds for loading with a first gradient and for the audit, and why where something is
missing. Exits with 1 when a file that loads has no gradient or an audit did not end.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor import local, options
from auditor.audits.plan import default_batch
from auditor.audits.prepare import prepare
from auditor.errors import AuditorError
from auditor.graph.upload import Upload
from auditor.request import read_model, settle

# What only a user can know of a file.
SAID = {
    "dnsmos_audio.onnx": {"threshold": 3.0},  # a rating from 1 to 5
    "pensieve_multi_slice.onnx": {"unbatched": True, "threshold": 0.0},
    "qlinear_conv.onnx": {"unbatched": True},
}
OPEN = {"qlinear_conv.onnx": 3}  # how long an axis is made that the file leaves open

OWN = Path(__file__).parents[1] / "tests" / "models"
DATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Row:
    """What became of one file. access: "refused" when it did not load, "failed" when its audit did not end."""

    access: str
    why: str
    opset: int = 0
    wanted: int = 0
    batch: int = 0
    error: float | None = None
    seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", type=Path, default=[OWN, DATA])
    parser.add_argument("--only", default="", help="a part of the file's name")
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=20, help="each audit's budget")
    parser.add_argument("--problems", action="store_true", help="leave out the lines of files without any")
    parser.add_argument("--prepare", action="store_true", help="stop where attacks would begin")
    asked = parser.parse_args()
    print(f"{'file':44} opset  batch  access     self-check  seconds")
    counts: dict[str, int] = {}
    for path in files(asked.folder, asked.only):
        row = judged(path, asked.examples, asked.seconds, asked.prepare)
        counts[row.access] = counts.get(row.access, 0) + 1
        if not (asked.problems and row.access == "white-box" and row.batch == row.wanted):
            print(line(path, row), flush=True)
    print(", ".join(f"{access} {count}" for access, count in counts.items()))
    return 1 if {"score", "failed"} & counts.keys() else 0


def files(folders: list[Path], part: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.onnx")) if part in path.name)


def judged(path: Path, examples: int, seconds: int, only_prepare: bool) -> Row:
    """Load and audit one file."""
    started = time.perf_counter()
    try:
        upload = read_model(path, **SAID.get(path.name, {}))
    except AuditorError as error:
        return Row("refused", str(error))
    shape = tuple(d or OPEN.get(path.name, 32) for d in upload.input_shape[1:])
    wanted = min(default_batch(shape), examples)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", inputs(upload, shape, examples))
        words = {
            "model": path,
            "data": Path(folder) / "x.npy",
            "out": Path(folder) / "out",
            "domain": None if upload.levels else "0,1",
            "preset": "quick",
            "batch_size": wanted,
            "threads": 1,
            "examples": examples,
            "budget": f"{seconds}s",
            **SAID.get(path.name, {}),
        }
        try:
            request = options.request(words)
            asked = settle(request)
            if only_prepare:
                prepared = prepare(asked.subject)
                gradient, batch = prepared.gradient.as_json(), prepared.plan.batch
            else:
                report = local.audit(request, asked, lambda _: None).report
                gradient, batch = report.model.gradient, report.audit.plan["batch"]
        except Exception as error:
            return Row("failed", f"{type(error).__name__}: {error}", upload.opset, wanted)
    why = "" if gradient["access"] == "white-box" else gradient["why"]
    took = time.perf_counter() - started
    return Row(gradient["access"], why, upload.opset, wanted, batch, gradient["error"], took)


def inputs(upload: Upload, shape: tuple[int, ...], examples: int) -> np.ndarray:
    """Random examples in [0, 1], or in the whole range of a type of whole numbers."""
    x = np.random.default_rng(0).random((examples, *shape), np.float32)
    if upload.levels is None:
        return x
    low, high = upload.levels
    return np.round(low + (high - low) * x).astype(np.float32)


def line(path: Path, row: Row) -> str:
    name = path.name if len(path.name) <= 44 else path.name[:41] + "..."
    batch = f"{row.batch}/{row.wanted}" if row.wanted else "-"
    error = "-" if row.error is None else f"{row.error:.1e}"
    why = " ".join(row.why.split())[:220]
    return f"{name:44} {row.opset:5}  {batch:>5}  {row.access:9}  {error:>10}  {row.seconds:7.1f}  {why}"


if __name__ == "__main__":
    sys.exit(main())
