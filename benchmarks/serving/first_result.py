"""From the upload to the first result, with `auditor serve` as a user starts it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from auditor.options import demo
from serving.installation import DATA, MODEL, answers, client, free_port, until
from serving.table import Row, show, spread


def measure(options: Namespace) -> list[Row]:
    """The demo's audit: in a service that has just been started, in one that has done others, on the command line."""
    cold, warm, alone = [], [], []
    for _ in range(options.rounds):
        with _served() as http:
            cold.append(_walk(http, seed=0))
            warm.extend(_walk(http, seed=seed) for seed in range(1, 3))
        alone.append(_command_line())
    rows = [_row("service, first audit", cold), _row("service, later ones", warm)]
    rows.append(dict.fromkeys(rows[0], "") | {"audit of the demo": "command line", "report": spread(alone)})
    show("Seconds from POST of the model", rows)
    return rows


@contextmanager
def _served() -> Iterator[httpx.Client]:
    with tempfile.TemporaryDirectory() as folder:
        port, data = free_port(), Path(folder) / "data"
        command = [sys.executable, "-m", "auditor", "serve", "--data", str(data), "--port", str(port)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
        )
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: answers(url), every=0.1)
            with client(url, (data / "first-key").read_text().strip()) as http:
                yield http
        finally:
            process.terminate()
            process.wait()


def _walk(http: httpx.Client, seed: int) -> dict[str, float]:
    """Seconds until each thing was there."""
    began, at = time.perf_counter(), {}

    def reached(name: str) -> None:
        at[name] = time.perf_counter() - began

    for kind, path in (("models", MODEL), ("datasets", DATA)):
        _sent(http.post(f"/{kind}", params={"name": "digits", "filename": path.name}, content=path.read_bytes()))
    reached("both checked")
    audit = _sent(http.post("/audits", json={"model": "digits", "data": "digits", "seed": seed, **_words()}))["id"]
    reached("settled")
    for event in _events(http, audit):
        if event == "audit.stage" and "first stage" not in at:
            reached("first stage")
            bounds = _sent(http.get(f"/audits/{audit}"))["bounds"]
            assert any(bound["lower"] > 0 or bound["upper"] < 1 for bound in bounds), "no bounds yet"
            reached("first bounds")
    report = http.get(f"/audits/{audit}/report.json")
    assert report.json()["audit"]["id"] == audit
    reached("report")
    return at


def _events(http: httpx.Client, audit: str) -> Iterator[str]:
    with http.stream("GET", f"/audits/{audit}/events", headers={"Accept": "text/event-stream"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("event:"):
                yield line.partition(":")[2].strip()


def _words() -> dict[str, Any]:
    """What `auditor demo` asks for, as the service is asked."""
    request = demo(Path("out"))
    return {
        "examples": request.settings["examples"],
        "norm": list(request.norms),
        "eps": list(request.eps),
    }


def _command_line() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "auditor", "demo", "--out", folder], capture_output=True, check=False
        )  # its exit status tells of the gate
        json.loads((Path(folder) / "report.json").read_text())
        return time.perf_counter() - began


def _row(name: str, walks: list[dict[str, float]]) -> Row:
    return {"audit of the demo": name} | {at: spread([walk[at] for walk in walks], digits=2) for at in walks[0]}


def _sent(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
