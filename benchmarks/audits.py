"""What curve.py and instances.py share: the models with known answers, and one audit of one of them."""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auditor.attacks.progress import Progress
from auditor.audits import finish
from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.outcomes import Outcomes
from auditor.audits.prepare import prepare
from auditor.audits.run import Engine, run_stages, slices
from auditor.data.preprocessing import Preprocessing
from auditor.request import Request, settle

ROOT = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))


def families() -> dict[str, dict]:
    """The published instances' index; exits with a sentence where the data are absent."""
    index = ROOT / "instances" / "index.json"
    if not index.exists():
        sys.exit(f"no test data at {ROOT}; set AUDITOR_TESTDATA")
    return json.loads(index.read_text())


def normalisation(family: str) -> Preprocessing | None:
    """The mean and std that go before a family's models."""
    facts = families().get(family, {"mean": [0.0], "std": [1.0]})
    if set(facts["mean"]) == {0.0} and set(facts["std"]) == {1.0}:
        return None
    return Preprocessing(mean=tuple(facts["mean"]), std=tuple(facts["std"]))


def attack(
    model: Path,
    x: np.ndarray,
    y: np.ndarray,
    norm: str,
    eps: Sequence[str],
    preset: str,
    *,
    threads: int | None,
    batch: int | None = None,
    **settings: object,
) -> tuple[Outcomes, dict[str, Progress]]:
    """The cascade of one audit, without its diagnosis: outcomes in the order of x, and the progress of each slice."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, x=x, y=y)
        request = Request(
            model=model,
            data=data,
            out=Path(folder) / "out",
            threat="image-8bit",
            norms=(norm,),
            eps=(",".join(eps),),
            domain=(0.0, 1.0),
            preprocessing=normalisation(model.parent.name),
            settings={"preset": preset, "examples": len(x), "threads": threads, "batch_size": batch, **settings},
        )
        subject = settle(request).subject
        prepared = prepare(subject, allow_chance=True)
        checkpoints = Checkpoints(Folder(Path(folder) / "work"))
        items = slices(prepared)
        finished = {step.item: step.progress for step in run_stages(Engine(subject, prepared), items, checkpoints)}
        (outcomes,) = finish.outcomes(prepared, subject.spec, items, finished)
        return _in_order(outcomes), finished


def _in_order(outcomes: Outcomes) -> Outcomes:
    """The same, by position in the dataset; an audit looks at its examples in random order."""
    order = np.argsort(outcomes.index)
    columns = {name: column[order] for name, column in vars(outcomes).items() if isinstance(column, np.ndarray)}
    return dataclasses.replace(outcomes, **columns)


def cost(finished: dict[str, Progress]) -> tuple[int, int]:
    """Examples times forwards, and examples times backwards."""
    forwards = sum(int(progress.forwards.sum()) for progress in finished.values())
    return forwards, sum(int(progress.backwards.sum()) for progress in finished.values())


def by_stage(finished: dict[str, Progress]) -> list[str]:
    """One line per stage: what it tried, brought nearer and cost."""
    lines = []
    for rows in zip(*(progress.rows for progress in finished.values()), strict=True):
        total = {k: sum(getattr(r, k) for r in rows) for k in ("tried", "broken", "refuted", "forwards", "backwards")}
        lines.append(f"    {rows[0].stage:24} " + "  ".join(f"{name} {count}" for name, count in total.items()))
    return lines
