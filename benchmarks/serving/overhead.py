"""What the service costs over the bare engine: the same slices, by the engine alone and by a worker."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import func, select

from auditor import options as requests
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.prepare import prepare_once
from auditor.audits.run import Engine, run_stages, slices
from auditor.operations import audits, create
from auditor.request import settle
from auditor.resources import NewAudit
from auditor.store.tables import Item, Stage
from auditor.workers.loop import Worker
from auditor.workers.worker import worker
from serving.installation import DATA, MODEL, Installation, databases, installed
from serving.table import Row, show, spread, timed

EMPTY = {"examples": 400, "batch_size": 1, "attack": ["fgsm"], "norm": ["Linf"], "eps": ["0.1"], "threads": 1}
# One slice. Nothing breaks at eps this small, so that every example costs all steps of all attacks.
FULL = {
    "examples": 500,
    "batch_size": 125,
    "preset": "standard",
    "norm": ["Linf", "L2"],
    "eps": 2 * ["1/1000"],
    "threads": 1,
}


@dataclass
class Cost:
    """Seconds of all slices together, and what attacks took of them, as the engine itself says."""

    slices: int
    wall: float = 0.0
    attacks: float = 0.0

    @property
    def beside(self) -> float:
        """Seconds per slice that are no attack: plans, sessions, checkpoints, and all that the service does. How long
        the same attack takes varies on a shared machine by more than that."""
        return (self.wall - self.attacks) / self.slices


def measure(options: Namespace) -> list[Row]:
    """Nearly empty slices show what the service costs per slice; a full one, what that is beside the work."""
    rows = [*_compared("nearly empty", _rounds(EMPTY, options.rounds))]
    if not options.quick:
        rows += _compared("full", _rounds(FULL, options.rounds))
    show("The service over the bare engine, per slice: median of rounds (smallest..largest)", rows)
    return rows


def _rounds(words: dict[str, Any], rounds: int) -> dict[str, list[Cost]]:
    """Each way in turn, round after round, so that a slow minute of the machine falls on all of them alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in ("engine", *databases())}
    for seed in range(rounds):
        costs["engine"].append(_bare({**words, "seed": seed}))
        for kind in databases():
            costs[kind].append(_served(kind, {**words, "seed": seed}))
    return costs


def _bare(words: dict[str, Any]) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        request = requests.request({**words, "model": MODEL, "data": DATA, "out": Path(folder) / "out"})
        subject = settle(request).subject
        checkpoints = Checkpoints(Folder(Path(folder) / "work"))
        prepared = prepare_once(subject, checkpoints, allow_chance=False)
        items = slices(prepared)
        cost, began = Cost(len(items)), time.perf_counter()
        for step in run_stages(Engine(subject, prepared), items, checkpoints):
            cost.attacks += step.seconds[-1]
        cost.wall = time.perf_counter() - began
        return cost


def _served(kind: str, words: dict[str, Any]) -> Cost:
    with installed(kind) as installation:
        installation.upload_demo()
        with worker(installation.settings, "benchmark") as at_work:
            for _ in range(2):  # the checks of model and data
                at_work.run_once()
            asked = NewAudit(model="digits", data="digits", **words)
            audit_id = create.create(installation.service, installation.project, asked)
            for _ in range(2):  # it is settled and prepared
                at_work.run_once()
            return _slices(installation, at_work, audit_id)


def _slices(installation: Installation, at_work: Worker, audit_id: str) -> Cost:
    """Of the slices alone: attacks on the diagnostic subsample come in between."""
    database, known = installation.service.database, audits.show(installation.service, installation.project, audit_id)
    assert known.listed.audit.facts is not None, "the audit is not prepared"
    cost, done = Cost(len(known.listed.audit.facts["plan"]["slices"])), 0
    while done < cost.slices:
        seconds = timed(at_work.run_once)
        with database.reading() as session:
            last = session.scalars(select(Item).order_by(Item.claimed_at.desc()).limit(1)).one()
        if last.name.startswith("slice-"):
            done, cost.wall = done + 1, cost.wall + seconds
    stages = select(func.sum(Stage.seconds)).where(Stage.audit_id == audit_id, Stage.item.startswith("slice-"))
    with database.reading() as session:
        cost.attacks = session.scalar(stages) or 0.0
    return cost


def _compared(name: str, costs: dict[str, list[Cost]]) -> Iterator[Row]:
    engine = costs["engine"]
    for way, measured in costs.items():
        more = [cost.beside - bare.beside for cost, bare in zip(measured, engine, strict=True)]
        share = [extra * cost.slices / cost.attacks for extra, cost in zip(more, measured, strict=True)]
        yield {
            "slices": name,
            "by": way,
            "how many": measured[0].slices,
            "s of attacks": spread([cost.attacks / cost.slices for cost in measured], digits=3),
            "ms beside them": spread([cost.beside for cost in measured], 1e3),
            "ms more than the engine": spread(more, 1e3),
            "of the attacks": f"{median(share):.2%}",
        }
