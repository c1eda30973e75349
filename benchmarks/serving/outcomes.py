"""Outcomes of a large audit: stored as its slices end, and read back page by page."""

from argparse import Namespace

from auditor.operations import results
from auditor.operations.service import Service
from auditor.operations.work import attacking
from serving.installation import databases, installed
from serving.prepared import claimed, found, put_prepared, stage
from serving.table import Row, show, spread, timed

_NORMS = ("Linf", "L2", "L1")
_EXAMPLES, _PER_SLICE = 10_000, 128
_PAGE = 10_000


def measure(options: Namespace) -> list[Row]:
    """prepared: a row per example and norm; found: what one stage of every slice found; read: all pages."""
    rows = []
    for kind in databases():
        rounds = [_round(kind) for _ in range(options.rounds)]
        columns = {name: spread([seconds[name] for seconds in rounds], digits=2) for name in rounds[0]}
        total = spread([sum(seconds.values()) for seconds in rounds], digits=2)
        rows.append({"database": kind, **columns, "together": total})
    show(f"Seconds to store and read the outcomes of {_EXAMPLES:,} examples under {len(_NORMS)} norms", rows)
    return rows


def _round(kind: str) -> dict[str, float]:
    with installed(kind) as installation:
        service, project = installation.service, installation.project
        audit_id, claim, answer, sample = put_prepared(installation, _NORMS, _EXAMPLES, _PER_SLICE)
        seconds = {"prepared": timed(lambda: attacking.prepared(service, claim, answer, sample, 0.0)), "found": 0.0}
        for start in range(0, _EXAMPLES, _PER_SLICE):
            slice_, stop = claimed(installation), min(start + _PER_SLICE, _EXAMPLES)
            told = stage(stop - start), found(_NORMS, start, stop)
            seconds["found"] += timed(lambda: attacking.stage_done(service, slice_, *told))  # noqa: B023
        seconds["read"] = timed(lambda: _read(service, project, audit_id))
    return seconds


def _read(service: Service, project: str, audit_id: str) -> None:
    read, cursor = 0, None
    while read == 0 or cursor is not None:
        page, cursor = results.outcomes(service, project, audit_id, cursor=cursor, limit=_PAGE)
        read += len(page)
    assert read == len(_NORMS) * _EXAMPLES, f"{read} outcomes were read"
