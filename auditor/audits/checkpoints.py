"""What survives a kill: one file per work item in a folder, replaced atomically after each stage.

A file holds a slice's whole progress, so that a killed audit goes on at its first missing stage. A file is written
beside its place, flushed to the disk and renamed over the old one; a kill leaves the old or the new one, never half.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from auditor.attacks.cascade import Best, Progress, StageRow

_PER_NORM = [field.name for field in dataclasses.fields(Best)]


class Checkpoints:
    """A folder of finished work. One process writes a name at a time; different names may be written in parallel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, progress: Progress, seconds: list[float]) -> None:
        arrays = {
            f"{norm}/{column}": getattr(best, column) for norm, best in progress.best.items() for column in _PER_NORM
        }
        facts = {"rows": [dataclasses.asdict(row) for row in progress.rows], "seconds": seconds}
        arrays |= {k: getattr(progress, k) for k in ("forwards", "backwards", "skipped")}
        self._write(self.folder / f"{name}.npz", arrays, facts)

    def load(self, name: str) -> tuple[Progress, list[float]] | None:
        """The progress saved under `name` and the seconds each of its stages took, or None."""
        stored = self._read(self.folder / f"{name}.npz")
        if stored is None:
            return None
        arrays, facts = stored
        norms = list(dict.fromkeys(key.partition("/")[0] for key in arrays if "/" in key))
        best = {norm: Best(**{column: arrays[f"{norm}/{column}"] for column in _PER_NORM}) for norm in norms}
        rows = tuple(StageRow(**row) for row in facts["rows"])
        progress = Progress(best, arrays["forwards"], arrays["backwards"], arrays["skipped"], rows)  # type: ignore[arg-type]
        return progress, facts["seconds"]

    def save_facts(self, name: str, facts: dict[str, Any], **arrays: np.ndarray) -> None:
        """Arrays and JSON-able facts under `name`."""
        self._write(self.folder / f"{name}.npz", arrays, facts)

    def load_facts(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        return self._read(self.folder / f"{name}.npz")

    @staticmethod
    def _write(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        temporary = path.with_suffix(f".{os.getpid()}.part")
        with temporary.open("wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @staticmethod
    def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files if key != "facts"}
            return arrays, json.loads(str(stored["facts"]))
