"""The service on one machine, with no server installed: `auditor serve`.

One process watches the others: the API, a worker for checks, and workers for audits. One that dies is started again,
and what it was doing is free at once. All of them end with the supervisor, however it ends.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from auditor import logs, sandbox
from auditor.errors import SpecError
from auditor.logs import log
from auditor.operations import keys, projects
from auditor.operations.retention import collect
from auditor.operations.service import Service, open_service
from auditor.operations.work import items, presence
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.ids import new_id
from auditor.workers.worker import on_signals

PROJECT = "default"
FIRST_KEY = "first-key"
_BACKOFF = (0.5, 30.0)  # seconds before a process is started again: after its first end, and at most
_STEADY = 60.0  # seconds after which a process counts as running well
_ORDERLY = 30.0  # seconds that processes have to end by themselves
_DAY = 86400.0


@dataclass
class Process:
    """A program that is to run for as long as the service does. owner: of a worker's claims, anew at each start."""

    name: str
    module: str
    environment: Mapping[str, str]
    place: str
    running: "subprocess.Popen[bytes] | None" = None
    owner: str = ""
    started_at: float = 0.0
    start_at: float = 0.0
    backoff: float = field(default=_BACKOFF[0])

    def start(self) -> None:
        self.owner = f"{self.place}/{self.name}/{new_id()}"
        command = [sys.executable, "-m", "auditor.processes.tied", str(os.getpid()), self.module, self.owner]
        # A session of its own: Ctrl-C reaches the supervisor alone, which then ends the others in order.
        self.running = subprocess.Popen(command, env=dict(self.environment), start_new_session=True)
        self.started_at = time.monotonic()
        log.info("process.started", process=self.name, pid=self.running.pid)

    def ended(self) -> bool:
        """Whether it has ended since it was started; the next start then waits a while, longer each time."""
        if self.running is None or self.running.poll() is None:
            return False
        lived = time.monotonic() - self.started_at
        self.backoff = _BACKOFF[0] if lived > _STEADY else min(2 * self.backoff, _BACKOFF[1])
        self.start_at = time.monotonic() + self.backoff
        log.error("process.died", process=self.name, status=self.running.returncode, again_in=self.backoff)
        self.running = None
        return True


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C: once lets everything end in order, twice ends it at once.

    Raises SpecError when the data folder is in use by another supervisor, or for settings that fit nothing.
    """
    logs.configure(settings)
    sandbox.check(settings.sandbox)
    with _locked(settings.data):
        service = open_service(settings)
        if service.database.dialect == "sqlite":
            migrate.upgrade(service.database)
        _first_key(service)
        place = f"{socket.gethostname()}:{settings.data.absolute()}"
        for owner in presence.holders(
            service, f"{place}/"
        ):  # of a supervisor that was killed, with all of its workers
            items.free(service, owner)
        stop = threading.Event()
        on_signals(stop.set)
        threading.Thread(target=_collect_daily, args=(service, stop), daemon=True).start()
        print(f"auditor listens on {settings.public_url}; the key is in {settings.data / FIRST_KEY}", flush=True)
        _watch(service, _processes(settings, place), stop)


def _processes(settings: Settings, place: str) -> list[Process]:
    base = {**os.environ, **settings.environment, "AUDITOR_KINDS": ""}
    workers = [Process(f"worker-{number}", "auditor.workers", base, place) for number in range(settings.workers)]
    checks = Process("checks", "auditor.workers", base | {"AUDITOR_KINDS": "check,settle"}, place)
    return [Process("api", "auditor.server", base, place), checks, *workers]


def _watch(service: Service, processes: list[Process], stop: threading.Event) -> None:
    try:
        while not stop.wait(0.1):
            for process in processes:
                if process.ended():
                    _free(service, process.owner)
                if process.running is None and time.monotonic() >= process.start_at:
                    process.start()
    finally:
        _end([process.running for process in processes if process.running is not None])


def _free(service: Service, owner: str) -> None:
    try:
        items.free(service, owner)
    except SQLAlchemyError as error:  # its leases then run out by themselves
        log.warning("process.not_freed", owner=owner, error=str(error))


def _end(running: list["subprocess.Popen[bytes]"]) -> None:
    """End processes in order, and by force those that take too long."""
    for process in running:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + _ORDERLY
    for process in running:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The data folder, made if need be, for this supervisor alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SpecError(f"{folder} is in use by another 'auditor serve'; stop it, or give another --data") from None
    finally:
        os.close(descriptor)


def _first_key(service: Service) -> None:
    """A key with every right for a service that has none, shown once and left in a file for its owner alone."""
    path = service.settings.data / FIRST_KEY
    with service.database.transaction() as session:
        project = projects.ensure(session, PROJECT)
        if keys.list_keys(session, project.id, None, 1):
            return
        _, text = keys.create_key(session, project.id, "first", "admin")
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    print(f"API key (shown once): {text}", flush=True)


def _collect_daily(service: Service, stop: threading.Event) -> None:
    """From the start on: a service that is started anew every day collects too."""
    while True:
        try:
            collect(service)
        except Exception:  # an error of one day must not end the collection of the next
            log.exception("gc.failed")
        if stop.wait(_DAY):
            return
