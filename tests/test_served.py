"""The service as a user starts it: the README's way from nothing to a report, with its own commands; the client."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from auditor.client import Client, ModelRefused
from auditor.client.calls import uploads
from auditor.report.schema import Report
from tests.conftest import DEMO, ROOT

START_SECONDS = 60
COMMAND_SECONDS = 240


def section(title):
    """The code blocks below a heading of the README: (language, code)."""
    (text,) = re.findall(rf"^## {title}\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Served(NamedTuple):
    """A running service as the README starts it. folder: where its commands are typed."""

    folder: Path
    url: str
    environment: dict

    def type(self, code):
        """Run shell code of the README as it is written, but for the port."""
        code = code.replace("http://127.0.0.1:8000", self.url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The service that the section's first block starts, in a folder with model.onnx and data.npz."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(DEMO / "digits.onnx", folder / "model.onnx")
    shutil.copy(DEMO / "digits.npz", folder / "data.npz")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUDITOR_")}
    path = f"{folder}:{Path(sys.executable).parent}:{kept['PATH']}"
    environment = kept | {"PATH": path, "PYTHONPATH": str(ROOT), "AUDITOR_PORT": str(port)}
    command = folder / "auditor"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m auditor "$@"\n')
    command.chmod(0o755)
    start = ["bash", "-c", f"exec {section('Run it as a service')[0][1]}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(start, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        until_ready(url, process, folder / "log")
        yield Served(folder, url, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def until_ready(url, process, log):
    stop_at = time.monotonic() + START_SECONDS
    while time.monotonic() < stop_at and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").json()["state"] == "ok":
                return
        except (httpx.TransportError, ValueError, KeyError):
            pass
        time.sleep(0.1)
    pytest.fail(f"the service did not start: {log.read_text()}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_readme_goes_from_nothing_to_a_report(served):
    (_, _), (_, submit), (_, curl), (_, python) = section("Run it as a service")
    login = submit.splitlines()[0] + "\n"
    assert "verdict: none" in served.type(submit)
    assert {file.name for file in (served.folder / "audit-model").iterdir()} == {
        "report.json",
        "report.html",
        "report.pdf",
        "adversarial.npz",
        "outcomes.parquet",
    }
    assert "event: audit.done" in served.type(login + curl)
    by_curl = Report.model_validate_json((served.folder / "report.json").read_bytes())
    assert [(curve.norm, [point.eps for point in curve.points]) for curve in by_curl.curves] == [
        ("Linf", ["0.05", "0.1"])
    ]
    (served.folder / "audit.py").write_text(python)
    printed = served.type(login + "python audit.py")
    assert printed.startswith("none")
    assert "robust_accuracy" in printed


@pytest.fixture
def client(served):
    with Client(served.url, (served.folder / "auditor-data" / "first-key").read_text()) as client:
        yield client


def test_a_large_file_goes_in_pieces(served, client, monkeypatch):
    monkeypatch.setattr(uploads, "AT_ONCE", 1000)
    monkeypatch.setattr(uploads, "PIECE", 70_000)
    content, seen = (served.folder / "model.onnx").read_bytes(), []
    version = client.upload_model(content, name="pieces", progress=lambda done, size: seen.append(done))
    assert version.sha256 == hashlib.sha256(content).hexdigest()
    assert seen == [70_000, 140_000, len(content)]


def test_a_refusal_says_why(client, tmp_path):
    with pytest.raises(ModelRefused, match="ONNX"):
        client.upload_model(b"no model at all", name="broken")


def test_waiting_survives_the_death_of_the_api(served, client):
    model = client.upload_model(served.folder / "model.onnx", name="survivor")
    data = client.upload_dataset(served.folder / "data.npz", name="survivor")
    audit = client.audit(model, data, norm=["Linf"], eps=["0.05"], examples=40, attack=["fgsm", "pgd"], seed=3)
    seen = []

    def watch(event):
        if not seen:
            os.kill(pid_of_api(served.folder / "log"), signal.SIGKILL)
        seen.append(event)

    assert client.wait(audit.id, timeout=120, on_event=watch).state == "done"
    numbers = [event.number for event in seen]
    assert numbers == list(range(1, len(numbers) + 1))
    assert seen[-1].type == "audit.done"


def pid_of_api(log):
    """The process that serves HTTP now, as the supervisor's log tells."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["pid"] for line in lines if line["event"] == "process.started" and line["process"] == "api"][-1]
