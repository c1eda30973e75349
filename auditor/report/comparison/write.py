"""The files of a comparison: compare.json, compare.html and compare.pdf."""

import datetime
from collections.abc import Callable
from pathlib import Path

from auditor.audits.atomic import replacing
from auditor.report.comparison.compose import compose
from auditor.report.comparison.schema import ComparisonReport
from auditor.report.drawing import drawings
from auditor.report.html import html
from auditor.report.pdf import pdf


def _json(comparison: ComparisonReport) -> bytes:
    return comparison.model_dump_json(indent=2).encode() + b"\n"


def _html(comparison: ComparisonReport) -> bytes:
    document = compose(comparison)
    return html(document, drawings(document)).encode()


def _pdf(comparison: ComparisonReport) -> bytes:
    document = compose(comparison)
    return pdf(document, drawings(document), datetime.datetime.fromisoformat(comparison.made_at))


# By how a file's name ends.
WRITERS: dict[str, Callable[[ComparisonReport], bytes]] = {".json": _json, ".html": _html, ".pdf": _pdf}


def is_file(out: Path) -> bool:
    """Whether this names one file of a comparison, by its ending; else it names a folder for all three."""
    return out.suffix in WRITERS


def write(comparison: ComparisonReport, out: Path) -> list[Path]:
    """The file that `out` names, or all three in the folder that it names; each whole or not at all. Gives their paths."""
    paths = [out] if is_file(out) else [out / f"compare{suffix}" for suffix in WRITERS]
    for path in paths:
        with replacing(path) as file:
            file.write(WRITERS[path.suffix](comparison))
    return paths
