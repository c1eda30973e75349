"""Where one audit, or one check, is worked on: a child process with a folder for what it reads and writes."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from auditor.operations.service import Service
from auditor.operations.work import checkpoints
from auditor.operations.work.tasks import File, Task
from auditor.queue import Claim
from auditor.workers import inputs
from auditor.workers.child_process import Child

OnStep = Callable[[dict[str, Any], dict[str, np.ndarray]], None]


class Desk:
    """Kept while a worker claims work of the same audit, and never used for another: what one user's model does to its
    process reaches nobody else's. about: the id of the audit, or of the work item of a check; None until it is used.

    Its process begins to load what every audit needs when the desk is made.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.about: str | None = None
        self._service, self._folder = service, folder
        self._folder.mkdir(parents=True)
        settings = service.settings
        self._child = Child(scratch=folder, sandbox=settings.sandbox, cuda=settings.device.startswith("cuda"))
        self._child.start()
        self._opened: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        return self._child.alive

    def file(self, file: File, role: str, stop: Callable[[], bool]) -> Path:
        """A copy of stored bytes; role: model, data, baseline or surrogate-N."""
        return inputs.fetch(self._service, file, self._folder / role, stop)

    def out(self, claim: Claim) -> Path:
        """An empty folder for an item's files."""
        folder = self._folder / f"out-{claim.attempt}"
        folder.mkdir()
        return folder

    def open(self, claim: Claim, task: Task, stop: Callable[[], bool]) -> dict[str, Any]:
        """Have the audit settled in the child, unless it is; what it said."""
        if self._opened is None:
            baseline = None if task.baseline is None else str(self.file(task.baseline, "baseline", stop))
            command = {
                "do": "open",
                "model": str(self.file(task.model, "model", stop)),
                "data": str(self.file(task.data, "data", stop)),
                "words": task.words,
                "baseline": baseline,
                "surrogates": [
                    {"model": str(self.file(one.file, f"surrogate-{position}", stop)), **one.normalisation}
                    for position, one in enumerate(task.surrogates)
                ],
            }
            self._opened = self.call(claim, command, stop)
        return self._opened

    def call(
        self, claim: Claim, command: Mapping[str, Any], stop: Callable[[], bool], on_step: OnStep | None = None
    ) -> dict[str, Any]:
        """Have the child do something, with checkpoints under the claim's fence."""
        return self._child.call(
            dict(command),
            on_read=lambda name: checkpoints.read(self._service, claim, name),
            on_write=lambda name, data: checkpoints.write(self._service, claim, name, data),
            on_step=on_step or (lambda facts, arrays: None),
            stop=stop,
            silence=self._service.settings.stage_seconds,
        )

    def close(self) -> None:
        """End the child, whatever it is doing, and remove the folder."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)
