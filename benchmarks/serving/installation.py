"""The service, freshly installed on one machine: a database of either kind, a folder, a project, real processes."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import httpx
import psycopg

from auditor.operations import blobs, datasets, keys, models, projects
from auditor.operations.service import open_service
from auditor.settings import Settings
from auditor.store import migrate

T = TypeVar("T")
POSTGRES = os.environ.get("AUDITOR_TEST_POSTGRES", "postgresql:///test")
MODEL, DATA = (Path(str(files("auditor") / "demo" / name)) for name in ("digits.onnx", "digits.npz"))


class Installation:
    """A service with tables and one project. key: of an admin; project: its id. `name` tells the database's kind."""

    def __init__(self, folder: Path, database: str) -> None:
        self.settings = Settings(
            data=folder,
            database=database,
            port=free_port(),
            log_level="error",
            rate_limit="1000000/second",
            webhook_networks="any",
        )
        self.service = open_service(self.settings)
        self.name = self.service.database.dialect
        migrate.upgrade(self.service.database)
        with self.service.database.transaction() as session:
            self.project = projects.ensure(session, "benchmark").id
            _, self.key = keys.create_key(session, self.project, "benchmark", "admin")
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return self.settings.public_url

    def start(self, module: str, **changed: object) -> subprocess.Popen[bytes]:
        """A process of the service: auditor.api or auditor.workers. changed: settings that are its own."""
        environment = {**os.environ, **replace(self.settings, **changed).environment}
        with (self.settings.data / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)
        self._processes.append(process)
        if module == "auditor.api":
            until(lambda: answers(self.url))
        return process

    def client(self) -> httpx.Client:
        return client(self.url, self.key)

    def upload_demo(self) -> None:
        """The demo's model and dataset, both named digits; to be checked by a worker."""
        (sha256, size), new = self._kept(MODEL), models.NewVersion("digits", MODEL.name)
        models.add(self.service, self.project, new, sha256, size)
        datasets.add(self.service, self.project, "digits", DATA.name, *self._kept(DATA))

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        self.service.database.close()

    def _kept(self, path: Path) -> tuple[str, int]:
        return blobs.keep(self.service, [path.read_bytes()])


@contextmanager
def installed(kind: str) -> Iterator[Installation]:
    """kind: sqlite or postgresql."""
    folder = Path(tempfile.mkdtemp(prefix="auditor-benchmark-"))
    try:
        with _postgres() if kind == "postgresql" else nullcontext("") as database:
            installation = Installation(folder, database)
            try:
                yield installation
            finally:
                installation.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def databases() -> tuple[str, ...]:
    """The kinds of databases that can be measured here."""
    try:
        psycopg.connect(POSTGRES, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        print(f"no PostgreSQL answers at {POSTGRES} (set AUDITOR_TEST_POSTGRES): {error}", file=sys.stderr)
        return ("sqlite",)
    return ("sqlite", "postgresql")


def client(url: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=600)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def until(ask: Callable[[], T], seconds: float = 600.0, every: float = 0.02) -> T:
    """The first true answer. Raises TimeoutError."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if answer := ask():
            return answer
        time.sleep(every)
    raise TimeoutError(f"what was waited for did not come within {seconds:g} seconds")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _postgres() -> Iterator[str]:
    """A database of its own, dropped in the end."""
    name = f"auditor_benchmark_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
