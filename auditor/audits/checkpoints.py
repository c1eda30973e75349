"""What survives a kill: one file per work item in a folder, replaced atomically after each stage.

A file holds a slice's whole progress, so that a killed audit goes on at its first missing stage; a kill leaves the
old or the new one, never half. What a budget of passes cut short lies in files of its own, so that a larger budget
goes on from the last stage that was not cut.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from auditor.attacks.cascade import Best, Progress, StageRow
from auditor.audits.atomic import replacing

_PER_NORM = [field.name for field in dataclasses.fields(Best)]
_SKIPPED = "skipped"


class Checkpoints:
    """A folder of finished work, made when the first is saved. passes: the budget per example, if there is one.

    One process writes a name at a time; different names may be written in parallel. Raises AuditorError where the
    disk does not take it.
    """

    def __init__(self, folder: Path, *, passes: int | None = None) -> None:
        self.folder, self._passes = folder, passes

    def save(self, name: str, progress: Progress, seconds: list[float]) -> None:
        arrays = {
            f"{norm}/{column}": getattr(best, column) for norm, best in progress.best.items() for column in _PER_NORM
        }
        facts = {"rows": [dataclasses.asdict(row) for row in progress.rows], "seconds": seconds}
        arrays |= {f"{norm}/{_SKIPPED}": skipped for norm, skipped in progress.skipped.items()}
        arrays |= {k: getattr(progress, k) for k in ("forwards", "backwards")}
        self._write(self._cut(name) if progress.cut else self._whole(name), arrays, facts)

    def load(self, name: str) -> tuple[Progress, list[float]] | None:
        """The progress saved under `name` and the seconds each of its stages took, or None."""
        whole = self._progress(self._whole(name))
        cut = None if self._passes is None else self._progress(self._cut(name))
        if whole is None or cut is None:
            return whole or cut
        return cut if len(cut[0].rows) > len(whole[0].rows) else whole

    def _whole(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _cut(self, name: str) -> Path:
        return self.folder / f"{name}-{self._passes}passes.npz"

    def _progress(self, path: Path) -> tuple[Progress, list[float]] | None:
        stored = self._read(path)
        if stored is None:
            return None
        arrays, facts = stored
        norms = list(dict.fromkeys(key.partition("/")[0] for key in arrays if "/" in key))
        best = {norm: Best(**{column: arrays[f"{norm}/{column}"] for column in _PER_NORM}) for norm in norms}
        skipped = {norm: arrays[f"{norm}/{_SKIPPED}"] for norm in norms}
        rows = tuple(StageRow(**row) for row in facts["rows"])
        progress = Progress(best, arrays["forwards"], arrays["backwards"], skipped, rows)  # type: ignore[arg-type]
        return progress, facts["seconds"]

    def save_facts(self, name: str, facts: dict[str, Any], **arrays: np.ndarray) -> None:
        """Arrays and JSON-able facts under `name`."""
        self._write(self.folder / f"{name}.npz", arrays, facts)

    def load_facts(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        return self._read(self.folder / f"{name}.npz")

    @staticmethod
    def _write(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        with replacing(path) as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]

    @staticmethod
    def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files if key != "facts"}
            return arrays, json.loads(str(stored["facts"]))
