"""Slices without work: claimed, saved and ended as fast as worker processes can."""

import time
from argparse import Namespace
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from auditor.operations.service import open_service
from auditor.operations.work import attacking, checkpoints, items
from auditor.settings import Settings
from serving.installation import Installation, databases, installed
from serving.prepared import found, prepare, stage
from serving.table import Row, quantile, show

_WORKERS = (1, 4)
_FRAME = bytes(2000)  # about what the checkpoint of a slice of a few examples has
_PATIENCE = 600.0


@dataclass(frozen=True)
class _Done:
    """One process's share. claims: seconds that each claim took; began, ended: by the machine's clock."""

    claims: list[float]
    began: float
    ended: float


def measure(options: Namespace) -> list[Row]:
    """Slices per second, and how long a claim takes among others."""
    count, rows = 200 if options.quick else 500, []
    for kind in databases():
        for workers in _WORKERS:
            with installed(kind) as installation:
                rows.append(_row(kind, workers, _run(installation, workers, count)))
    show("Slices without work: claim, checkpoint, stage, end", rows)
    return rows


def _run(installation: Installation, workers: int, count: int) -> list[_Done]:
    prepare(installation, ("Linf",), count, per_slice=1)
    context = get_context("spawn")
    together, told = context.Barrier(workers), context.Queue()
    arguments = installation.settings, together, told
    processes = [context.Process(target=_work, args=(f"worker-{n}", *arguments)) for n in range(workers)]
    for process in processes:
        process.start()
    done = [told.get(timeout=_PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    assert sum(len(share.claims) for share in done) == count, "not every slice was claimed once"
    return done


def _work(owner: str, settings: Settings, together: Barrier, told: "Queue[_Done]") -> None:
    """Do slices until there are none."""
    service = open_service(settings)
    claims: list[float] = []
    together.wait(_PATIENCE)
    began = time.monotonic()
    while True:
        asked = time.perf_counter()
        claim = items.claim(service, owner, kinds=("attack",), devices=("cpu",))
        if claim is None:
            break
        claims.append(time.perf_counter() - asked)
        checkpoints.write(service, claim, claim.name, _FRAME)
        position = int(claim.name.rpartition("-")[2])
        attacking.stage_done(service, claim, stage(1), found(("Linf",), position, position + 1))
        attacking.attack_done(service, claim, 0.0)
    told.put(_Done(claims, began, time.monotonic()))


def _row(kind: str, workers: int, done: list[_Done]) -> Row:
    claims = [seconds for share in done for seconds in share.claims]
    wall = max(share.ended for share in done) - min(share.began for share in done)
    return {
        "database": kind,
        "workers": workers,
        "slices/s": f"{len(claims) / wall:.0f}",
        "ms per claim, median": f"{1e3 * quantile(claims, 0.5):.1f}",
        "p99": f"{1e3 * quantile(claims, 0.99):.1f}",
        "worst": f"{1e3 * max(claims):.1f}",
    }
