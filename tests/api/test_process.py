"""The service over HTTP as a process: python -m auditor.server"""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from auditor.operations.service import open_service
from auditor.settings import Settings
from auditor.store import migrate
from tests.conftest import ROOT


@pytest.fixture
def settings(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Settings(data=tmp_path, port=free.getsockname()[1])


@pytest.fixture
def api(settings):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "AUDITOR_DATA": str(settings.data),
        "AUDITOR_PORT": str(settings.port),
    }
    started = subprocess.Popen(
        [sys.executable, "-m", "auditor.server"], env=environment, stderr=subprocess.PIPE, text=True
    )
    yield started
    started.kill()
    started.communicate()


@pytest.fixture
def migrated(settings):
    service = open_service(settings)
    migrate.upgrade(service.database)
    service.database.close()


def test_it_serves_until_it_is_told_to_end(migrated, settings, api):
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = httpx.get(f"{settings.public_url}/api/v1/openapi.json")
            break
        except httpx.TransportError:
            assert api.poll() is None, api.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert answer.status_code == 200
    assert "server" not in answer.headers
    api.send_signal(signal.SIGTERM)
    assert api.wait(timeout=30) in (0, -signal.SIGTERM)


def test_without_tables_it_says_what_to_do(api):
    _, errors = api.communicate(timeout=60)
    assert api.returncode == 1
    assert "auditor db upgrade" in errors
