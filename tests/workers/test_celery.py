"""Celery workers as real processes, with a real Redis that may lose everything it holds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from auditor.queue import doorbell
from auditor.resources import FINISHED
from auditor.store.tables import Item, Worker
from tests.conftest import ROOT
from tests.work import WORDS, audit_of, put_audit, put_inputs, rows, until

REDIS = os.environ.get("AUDITOR_TEST_REDIS", "redis://127.0.0.1:6379/13")


@pytest.fixture
def broker():
    """A Redis database of its own, emptied before and after."""
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=2)
    try:
        client.flushdb()
    except redis.ConnectionError as error:
        pytest.skip(f"no Redis at {REDIS} (set AUDITOR_TEST_REDIS): {error}")
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def start(service, broker, tmp_path):
    """Starts `auditor worker --celery`; whatever still runs in the end is killed."""
    started = []
    environment = {**os.environ, **service.settings.environment, "AUDITOR_REDIS": REDIS, "PYTHONPATH": str(ROOT)}

    def run():
        with (tmp_path / "log").open("ab") as log:
            command = [sys.executable, "-m", "auditor", "worker", "--celery"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pool_of(process):
    """The pool's process of a Celery worker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_an_audit_is_done_although_the_broker_forgets_everything(service, project, start, broker, tmp_path):
    start()
    until(lambda: rows(service, Worker))
    audit_id = put_audit(service, project, put_inputs(service, project))
    doorbell(REDIS)()
    until(lambda: audit_of(service, audit_id).state == "running")
    broker.flushdb()
    until(lambda: audit_of(service, audit_id).state in FINISHED)
    assert audit_of(service, audit_id).state == "done", (tmp_path / "log").read_text()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_work_is_found_without_a_ring(service, project, start):
    start()
    until(lambda: rows(service, Worker))
    words = {**WORDS, "norm": ["Linf"], "eps": ["0.1"]}
    audit_id = put_audit(service, project, put_inputs(service, project), words=words)
    until(lambda: audit_of(service, audit_id).state == "done")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_worker_that_is_told_to_stop_gives_its_work_back(service, project, start):
    process = start()
    until(lambda: rows(service, Worker))
    words = {**WORDS, "attack": ["apgd-ce"], "examples": 400}
    put_audit(service, project, put_inputs(service, project), words=words)
    until(lambda: rows(service, Item, kind="attack", state="running"))
    process.terminate()
    process.wait(30)
    assert not rows(service, Item, state="running")
    assert all((row.deaths, row.losses) == (0, 0) for row in rows(service, Item))
    assert rows(service, Worker) == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_pools_process_is_spawned_and_replaced(service, project, start):
    process = start()
    until(lambda: rows(service, Worker))
    (pool,) = until(lambda: pool_of(process))
    os.kill(pool, signal.SIGKILL)
    until(lambda: pool_of(process) not in ([], [pool]))
    words = {**WORDS, "norm": ["Linf"], "eps": ["0.1"]}
    audit_id = put_audit(service, project, put_inputs(service, project), words=words)
    until(lambda: audit_of(service, audit_id).state == "done")
