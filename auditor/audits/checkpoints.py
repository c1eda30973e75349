"""What survives a kill: one frame per work item in some place, replaced whole after each stage.

A frame holds a slice's whole progress, so that a killed audit goes on at its first missing stage; a kill leaves the
old or the new one, never half. What a budget of passes cut short lies under names of its own, so that a larger budget
goes on from the last stage that was not cut. A frame that cannot be read, or that another version laid out in another
way, counts as missing, and its work is redone.
"""

import dataclasses
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from auditor.attacks.progress import Best, Progress, StageRow
from auditor.audits.atomic import replacing
from auditor.audits.frames import decode, encode
from auditor.errors import Damaged

_PER_NORM = [field.name for field in dataclasses.fields(Best)]
_SKIPPED = "skipped"


class Place(Protocol):
    """Where named bytes are kept. Names are those of work items: letters, digits, '-', '_' and '.'."""

    def read(self, name: str) -> bytes | None:
        """What was last written under a name, or None."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name; a reader finds the old or the new ones whole."""
        ...


class Folder:
    """A folder of files, made when the first is written. Raises AuditorError where the disk does not take it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        try:
            return self._file(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        with replacing(self._file(name)) as file:
            file.write(data)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.frame"


class Checkpoints:
    """Finished work in a place. passes: the budget per example, if there is one; layout: a word for what frames hold, those
    with another one count as missing, see `auditor.audits.layout`.

    One process writes a name at a time; different names may be written in parallel.
    """

    def __init__(self, place: Place, *, passes: int | None = None, layout: str = "") -> None:
        self._place, self._passes, self._layout = place, passes, layout

    def save(self, name: str, progress: Progress, seconds: list[float]) -> None:
        """Keep a work item's progress and the seconds each of its stages took."""
        arrays = {
            f"{norm}/{column}": getattr(best, column) for norm, best in progress.best.items() for column in _PER_NORM
        }
        facts = {"rows": [dataclasses.asdict(row) for row in progress.rows], "seconds": seconds}
        arrays |= {f"{norm}/{_SKIPPED}": skipped for norm, skipped in progress.skipped.items()}
        arrays |= {k: getattr(progress, k) for k in ("forwards", "backwards")}
        self.save_facts(self._cut(name) if progress.cut else name, facts, **arrays)

    def load(self, name: str) -> tuple[Progress, list[float]] | None:
        """The progress saved under `name` and the seconds each of its stages took, or None."""
        whole = self._progress(name)
        cut = None if self._passes is None else self._progress(self._cut(name))
        if whole is None or cut is None:
            return whole or cut
        return cut if len(cut[0].rows) > len(whole[0].rows) else whole

    def _cut(self, name: str) -> str:
        return f"{name}-{self._passes}passes"

    def _progress(self, name: str) -> tuple[Progress, list[float]] | None:
        stored = self.load_facts(name)
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
        self._place.write(name, encode({"layout": self._layout, "facts": facts}, arrays))

    def load_facts(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The arrays and facts saved under `name`, or None."""
        data = self._place.read(name)
        if data is None:
            return None
        try:
            kept, arrays = decode(data)
        except Damaged:
            return None
        return (arrays, kept["facts"]) if kept.get("layout") == self._layout else None
