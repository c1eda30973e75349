"""`auditor serve` as real processes: what is started again, what ends with it, and who may use its folder."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from auditor.operations.service import open_service
from auditor.resources import FINISHED
from auditor.settings import Settings
from auditor.store.tables import Item, Project
from auditor.workers import supervisor
from tests.conftest import ROOT
from tests.work import WORDS, audit_of, put_audit, put_inputs, rows, until


@pytest.fixture
def port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(tmp_path, port):
    """Starts `auditor serve` on one folder; whatever still runs in the end is killed."""
    started = []

    def start():
        command = [sys.executable, "-m", "auditor", "serve", "--data", str(tmp_path / "data"), "--port", str(port)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def service(tmp_path, port):
    return open_service(Settings(data=tmp_path / "data", port=port))


def processes(tmp_path, word=""):
    """Pids of what the supervisor has started, children's children among them, but for the supervisor itself."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            ours = str(tmp_path / "data").encode() in (place / "environ").read_bytes() or str(tmp_path) in line
        except (OSError, ValueError):
            continue
        if ours and word in line and "auditor serve" not in line and "auditor.processes.tied" in line:
            found.append(int(place.name))
    return found


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_service_starts_with_a_key_and_ends_in_order(serve, tmp_path, port):
    running = serve()
    until(lambda: answers(port))
    file = tmp_path / "data" / "first-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = file.read_text().strip()
    listed = httpx.get(f"http://127.0.0.1:{port}/api/v1/keys", headers={"Authorization": f"Bearer {key}"})
    assert [row["role"] for row in listed.json()["items"]] == ["admin"]
    until(lambda: len(processes(tmp_path, "processes.tied")) >= 3)  # and what they start ahead
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert key in out
    assert f"http://127.0.0.1:{port}" in out
    assert processes(tmp_path) == []


def test_a_second_supervisor_is_refused_and_a_later_one_makes_no_second_key(serve, tmp_path, port):
    first = serve()
    until(lambda: answers(port))
    key = (tmp_path / "data" / "first-key").read_text()
    second = serve()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 64
    assert "in use by another 'auditor serve'" in err
    first.terminate()
    first.communicate(timeout=60)
    serve()
    until(lambda: answers(port))
    assert (tmp_path / "data" / "first-key").read_text() == key


def test_what_dies_is_started_again_and_nothing_outlives_the_supervisor(serve, tmp_path, port):
    running = serve()
    until(lambda: answers(port))
    for word in ("auditor.server", "worker-0"):
        (old,) = processes(tmp_path, word)
        os.kill(old, signal.SIGKILL)
        until(lambda old=old, word=word: processes(tmp_path, word) not in ([], [old]))
    until(lambda: answers(port))
    running.kill()
    until(lambda: processes(tmp_path) == [], seconds=5)


def test_an_audit_survives_the_death_of_everything(serve, service, tmp_path, port):
    running = serve()
    until(lambda: answers(port))
    with service.database.reading() as session:
        project = session.query(Project).one()
    audit_id = put_audit(
        service, project, put_inputs(service, project), words={**WORDS, "norm": ["Linf"], "eps": ["0.1"]}
    )
    until(lambda: any(row.state == "running" for row in rows(service, Item, kind="attack")))
    running.kill()
    until(lambda: processes(tmp_path) == [], seconds=5)
    assert any(row.state == "running" for row in rows(service, Item))
    again = time.monotonic()
    serve()
    until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert audit_of(service, audit_id).state == "done"
    assert time.monotonic() - again < service.settings.lease  # it did not wait for leases to run out
    assert [row.losses for row in rows(service, Item) if row.losses] == [1]


def test_a_database_that_is_away_keeps_nothing_from_being_started_again(service, monkeypatch):
    stop, asked = threading.Event(), []

    class Ended(supervisor.Process):
        def ended(self):
            return not asked

        def start(self):
            stop.set()

    def away(service, owner):
        asked.append(owner)
        raise OperationalError("UPDATE", {}, ConnectionError("the database is away"))

    monkeypatch.setattr(supervisor.items, "free", away)
    supervisor._watch(service, [Ended("worker", "none", {}, "here", owner="it")], stop)
    assert asked == ["it"]


def test_what_has_expired_is_collected_from_the_start_on(service, monkeypatch):
    stop, collected = threading.Event(), []
    monkeypatch.setattr(supervisor, "collect", lambda service: (collected.append(service), stop.set()))
    supervisor._collect_daily(service, stop)
    assert collected == [service]
