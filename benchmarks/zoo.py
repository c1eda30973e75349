"""Files as users bring them, through the command line's own path: does each load, with gradient, and does an audit end?

    python benchmarks/zoo.py [FOLDER …] [--only TEXT] [--keep FILE] [--lines] [--examples 6] [--seconds 120] [--limit 300]

FOLDER: every .onnx file in it and below; without one, tests/models and the models of AUDITOR_TESTDATA. Each file is audited in a
process of its own, preset quick, in Linf and L2 at two eps (in all four norms where no gradient is followed), on the
examples of `known.py` with the model's own answers as labels. Per file: what kind it is, its examples, opset, batch reached
and asked for, access, the self-check's relative error, how the audit went, seconds, and why where something is missing.

    float      floating point with slopes: the aim is white-box
    quantised  computes with whole levels, or holds weights in a few bits
    steps      trees, votes and comparisons, which have no slope

An audit that `ended` ran whole; one that is `cut` spent its --seconds and gave its report with bounds. With --keep, finished
files are kept in FILE (JSON lines) and not audited again. Exits with 1 where a float classifier is not white-box, or an
audit gave no report.
"""

import argparse
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import altair  # noqa: F401  here, once: importing it takes longer than many of these audits
import numpy as np
import onnx
from known import DATA, OWN, SAID, known

from auditor import local, options
from auditor.audits.plan import default_batch
from auditor.errors import AuditorError
from auditor.graph.precision import is_quantised
from auditor.request import read_model, settle

EPS = {"Linf": "0.02,0.1", "L2": "0.5,2", "L1": "5,20", "L0": "2,10"}
KINDS = ("float", "quantised", "steps", "unknown")
ACCESSES = ("white-box", "surrogate-gradient", "score", "decision")


@dataclass(frozen=True)
class Row:
    """What became of one file. went: "ended", "cut", "refused" when it did not load, "failed" when there was no report."""

    file: str
    went: str
    why: str = ""
    kind: str = "unknown"
    access: str = "-"
    source: str = "-"
    opset: int = 0
    wanted: int = 0
    batch: int = 0
    error: float | None = None
    seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", type=Path, default=[OWN, DATA])
    parser.add_argument("--only", default="", help="a part of the file's name")
    parser.add_argument("--keep", type=Path, help="where finished rows are kept")
    parser.add_argument(
        "--lines", action="store_true", help="a line per file, not only of those with something to tell"
    )
    parser.add_argument("--examples", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=120, help="each audit's budget")
    parser.add_argument("--limit", type=int, default=300, help="seconds after which a file's process is ended")
    asked = parser.parse_args()
    kept = _kept(asked.keep)
    print(f"{'file':44} kind       examples          opset  batch  access      self-check  audit   seconds")
    rows = []
    for path in files(asked.folder, asked.only):
        name = f"{path.parent.name}/{path.name}"
        row = kept.get(name) or _within(asked.limit, path, name, asked.examples, asked.seconds)
        if asked.keep and name not in kept:
            with asked.keep.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(row)) + "\n")
        rows.append(row)
        if asked.lines or row.why:
            print(_line(row), flush=True)
    print(_summary(rows))
    return 0 if all(_met(row) for row in rows if row.went != "refused") else 1


def files(folders: list[Path], part: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.onnx")) if part in path.name)


def _kept(file: Path | None) -> dict[str, Row]:
    if file is None or not file.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
    return {row.file: row for row in rows}


def _within(limit: int, path: Path, name: str, examples: int, seconds: int) -> Row:
    """The file judged in a process of its own, which is ended when it takes too long."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_judge, args=(there, path, name, examples, seconds))
    process.start()
    there.close()
    try:
        row = here.recv() if here.poll(limit) else Row(name, "failed", f"it did not end within {limit} s")
    except EOFError:
        row = Row(name, "failed", "its process died")
    process.kill()
    process.join()
    return row


def _judge(answer: Connection, path: Path, name: str, examples: int, seconds: int) -> None:
    try:
        answer.send(judged(path, name, examples, seconds))
    except Exception as error:  # whatever it is, it is this file's line in the table
        answer.send(Row(name, "failed", f"{type(error).__name__}: {error}"))


def judged(path: Path, name: str, examples: int, seconds: int) -> Row:
    """Load and audit one file."""
    started = time.perf_counter()
    choice = {word: value for word, value in SAID.get(path.name, {}).items() if word not in ("mean", "std")}
    try:
        upload = read_model(path, **choice)
    except AuditorError as error:
        return Row(name, "refused", str(error))
    given = known(path, upload, examples)
    wanted = min(default_batch(given.x.shape[1:]), examples)
    norms = list(EPS) if upload.has_trees or upload.label_only else ["Linf", "L2"]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", given.x)
        words = {
            "model": path,
            "data": Path(folder) / "x.npy",
            "out": Path(folder) / "out",
            "preset": "quick",
            "norm": norms,
            "eps": [EPS[norm] for norm in norms],
            "batch_size": wanted,
            "threads": 1,
            "examples": examples,
            "budget": f"{seconds}s",
            "no_examples": True,
            **given.words,
        }
        request = options.request(words)
        report = local.audit(request, settle(request), lambda _: None).report
    gradient = report.model.gradient
    cut = next((said for said in report.not_tested if said.startswith("the audit ended early")), "")
    why = cut or ("" if gradient["access"] == "white-box" else gradient["why"])
    steps = upload.has_trees or gradient["obstacles"]
    kind = "quantised" if is_quantised(onnx.load(path)) else "steps" if steps else "float"
    return Row(
        name,
        "cut" if cut else "ended",
        why,
        kind,
        gradient["access"],
        given.source,
        upload.opset,
        wanted,
        report.audit.plan["batch"],
        gradient["error"],
        time.perf_counter() - started,
    )


def _met(row: Row) -> bool:
    return row.went in ("ended", "cut") and (row.kind != "float" or row.access == "white-box")


def _line(row: Row) -> str:
    name = row.file if len(row.file) <= 44 else row.file[:41] + "..."
    error = "-" if row.error is None else f"{row.error:.1e}"
    why = " ".join(row.why.split())[:220]
    return (
        f"{name:44} {row.kind:9}  {row.source:17} {row.opset:4}  {row.batch:>3}/{row.wanted}  {row.access[:11]:11} "
        f"{error:>10}  {row.went:7} {row.seconds:6.0f}  {why}"
    )


def _summary(rows: list[Row]) -> str:
    """Files by kind and access, and the two shares that are aimed at."""
    lines = [
        "",
        f"{'kind':10} files  " + "  ".join(f"{access:>18}" for access in ACCESSES) + "   ended    cut  failed",
    ]
    for kind in KINDS:
        of_kind = [row for row in rows if row.kind == kind]
        accesses, went = Counter(row.access for row in of_kind), Counter(row.went for row in of_kind)
        counts = "  ".join(f"{accesses[access]:18}" for access in ACCESSES)
        lines.append(f"{kind:10} {len(of_kind):5}  {counts} {went['ended']:7} {went['cut']:6} {went['failed']:7}")
    floats, others = ([row for row in rows if row.kind in kinds] for kinds in (("float",), ("quantised", "steps")))
    lines.append(f"float classifiers white-box: {_share(floats)}; others audited: {_share(others)}")
    return "\n".join(lines)


def _share(rows: list[Row]) -> str:
    met = sum(map(_met, rows))
    return f"{met} of {len(rows)}" + (f" ({met / len(rows):.1%})" if rows else "")


if __name__ == "__main__":
    sys.exit(main())
