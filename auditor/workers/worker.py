"""A process around the loop: a worker's name, its folder, its signals, and what it does beside its work."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from auditor import logs, sandbox
from auditor.errors import SpecError
from auditor.logs import log
from auditor.operations.service import open_service
from auditor.settings import Settings
from auditor.store.ids import new_id
from auditor.workers import chores, steps
from auditor.workers.courier import Courier
from auditor.workers.loop import Worker
from auditor.workers.scratch import own_folder


def main(settings: Settings, owner: str | None = None) -> None:
    """Work until SIGTERM or Ctrl-C: once gives back what is being done and ends, twice ends at once."""
    logs.configure(settings)
    with worker(settings, owner) as ready:
        on_signals(ready.stopping.set)
        ready.run()


@contextmanager
def worker(settings: Settings, owner: str | None = None) -> Iterator[Worker]:
    """A worker as the settings describe it, with its chores and a courier beside it. Raises SpecError for settings
    that fit nothing. owner: a name that no other worker has or had; one is made up if there is none."""
    device = pin(settings.device)
    kinds = chosen_kinds(settings)
    owner = owner or f"{socket.gethostname()}/{new_id()}"
    if not sandbox.check(settings.sandbox):
        log.warning("sandbox.missing", setting=settings.sandbox, owner=owner)
    service = open_service(settings)
    with own_folder(settings.scratch) as folder, logs.bound(owner=owner):
        made = Worker(service, owner, folder, kinds=kinds, device=device)
        ended = threading.Event()
        beside = [
            threading.Thread(target=chores.run, args=(service, owner, kinds, device, ended), name="chores"),
            threading.Thread(target=Courier(service).run, args=(ended,), name="courier"),
        ]
        for thread in beside:
            thread.start()
        try:
            yield made
        finally:
            made.close()
            ended.set()
            for thread in beside:
                thread.join()
            service.database.close()


def pin(device: str) -> str:
    """Let this process and its children see one GPU only, where one is named; cpu or cuda. Raises SpecError."""
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise SpecError(f"there is no device {device}; choose cpu, cuda, or one GPU such as cuda:1")
    if number:
        os.environ["CUDA_VISIBLE_DEVICES"] = number
    return kind


def on_signals(stop: Callable[[], None]) -> None:
    """Call stop() at the first SIGTERM or Ctrl-C, and end at once at the second."""

    def handle(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda number, _frame: os._exit(128 + number))
        stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, handle)


def chosen_kinds(settings: Settings) -> tuple[str, ...]:
    """The kinds of work items that a worker takes. Raises SpecError."""
    kinds = tuple(part.strip() for part in settings.kinds.split(",")) if settings.kinds else steps.KINDS
    if unknown := [kind for kind in kinds if kind not in steps.KINDS]:
        known = ", ".join(steps.KINDS)
        raise SpecError(f"there are no work items of the kind {', '.join(unknown)}; choose from {known}")
    return kinds
