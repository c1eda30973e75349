"""The service as real processes, on one machine or as many machines would run it, and what may happen to them."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.conftest import ROOT

LEASE = 4.0
_PATIENCE = 60.0


class Deployment:
    """Processes that share one environment; whatever ends is started again, as a supervisor of containers would."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AUDITOR_DATA": str(folder),
            "AUDITOR_PORT": str(self.port),
            "AUDITOR_LEASE": str(LEASE),
            "AUDITOR_WORKERS": "3",
            **environment,
        }
        self.commands: list[list[str]] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.key = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self, *commands: list[str]) -> None:
        self.commands = [*commands]
        self.running = [self._start(command) for command in commands]

    def keep(self) -> None:
        """Start again what has ended."""
        for place, process in enumerate(self.running):
            if process.poll() is not None:
                self.running[place] = self._start(self.commands[place])

    def end(self) -> None:
        for process in self.running:
            process.kill()
        for pid in self.processes(""):
            send(pid, signal.SIGKILL)
        for process in self.running:
            process.wait()

    def processes(self, *words: str) -> list[int]:
        """Pids of this deployment's processes whose command line holds all of these words."""
        mark = f"AUDITOR_DATA={self.folder}".encode()
        found = []
        for place in Path("/proc").iterdir():
            try:
                if mark in (place / "environ").read_bytes():
                    line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if all(word in line for word in words):
                        found.append(int(place.name))
            except (OSError, ValueError):
                continue
        return [pid for pid in found if pid != os.getpid()]

    def kill_one(self, pids: list[int], chance: random.Random) -> bool:
        return bool(pids) and send(chance.choice(pids), signal.SIGKILL)

    def kill(self, word: str) -> bool:
        """Kill what was started by a command that holds this word."""
        found = [p for p, c in zip(self.running, self.commands, strict=True) if any(word in part for part in c)]
        return bool(found) and send(found[0].pid, signal.SIGKILL)

    def command(self, *arguments: str) -> str:
        """What `auditor ARGUMENTS` prints."""
        command = [sys.executable, "-m", "auditor", *arguments]
        told = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        return told.stdout

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(retries=3)
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60, transport=transport)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)


@contextmanager
def one_machine(folder: Path) -> Iterator[Deployment]:
    """`auditor serve`: SQLite, one supervisor, three workers."""
    deployment = Deployment(folder)
    try:
        deployment.begin([sys.executable, "-m", "auditor", "serve"])
        deployment.key = until(lambda: _read(folder / "first-key"))
        until(lambda: answers(deployment.url))
        yield deployment
    finally:
        deployment.end()


@contextmanager
def many_machines(folder: Path) -> Iterator[Deployment]:
    """PostgreSQL, a Redis of its own, an API and three Celery workers, each with a folder of its own."""
    postgres = os.environ.get("AUDITOR_TEST_POSTGRES", "postgresql:///test")
    name, redis_port = f"auditor_{uuid.uuid4().hex[:12]}", free_port()
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server is installed")
    try:
        admin = psycopg.connect(postgres, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at {postgres}: {error}")
    admin.execute(f"CREATE DATABASE {name}")
    deployment = Deployment(
        folder,
        AUDITOR_DATABASE=f"{postgres.rpartition('/')[0]}/{name}",
        AUDITOR_ARTIFACTS=str(folder / "artifacts"),
        AUDITOR_REDIS=f"redis://127.0.0.1:{redis_port}/0",
    )
    python, quiet = sys.executable, ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    try:
        deployment.command("db", "upgrade")
        deployment.key = deployment.command("keys", "create", "tests", "--role", "admin").split()[-1]
        workers = [
            [python, "-m", "auditor", "worker", "--celery", "--data", str(folder / f"host-{n}")] for n in range(3)
        ]
        deployment.begin([server, "--port", str(redis_port), *quiet], [python, "-m", "auditor.server"], *workers)
        until(lambda: answers(deployment.url))
        yield deployment
    finally:
        deployment.end()
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.close()


def until(ask, patience: float = _PATIENCE, every: float = 0.05):
    """The first true answer; fails when it does not come."""
    stop = time.monotonic() + patience
    while time.monotonic() < stop:
        if answer := ask():
            return answer
        time.sleep(every)
    raise AssertionError("what was waited for did not come")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
