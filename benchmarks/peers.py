"""Contenders of a benchmark, each in a process of its own, driven by lines of JSON.

A script that calls `serve` is a contender: it reads a request per line from its standard input and answers on its
standard output. `Contender` is the other end. One round runs every contender once before the next round starts, so
that a slow minute of the machine falls on all of them alike.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MOMENT = 0.5  # seconds


class Refused(Exception):
    """A contender could not do what it was asked; the message is its own."""


class Contender:
    """A process that runs `script` with `arguments` under the interpreter `python`."""

    def __init__(self, name: str, python: str, script: str, *arguments: str, threads: int) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE.parent)},
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            raise Refused(self._errors.read().decode(errors="replace").strip()[-300:] or "it ended without a word")
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def serve(answer: Callable[..., dict[str, Any]]) -> None:
    """Answer requests until the input ends. What libraries print goes to the standard error instead."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply = answer(**json.loads(line))
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            reply = {"refused": f"{type(error).__name__}: {reason[0][:200]}"}
        print(json.dumps(reply), file=replies, flush=True)


def clocked(prepare: Callable[..., tuple[float, Callable[[], Any]]]) -> Callable[..., dict[str, Any]]:
    """An answer for `serve`: a request with arguments prepares a run and gives its error; every later one, without
    arguments, runs for at least MOMENT and gives the seconds of the fastest run."""
    state: dict[str, Callable[[], Any]] = {}

    def answer(**request: Any) -> dict[str, Any]:
        if request:
            error, state["run"] = prepare(**request)
            return {"error": error}
        seconds, start = math.inf, time.perf_counter()
        while time.perf_counter() - start < MOMENT:
            before = time.perf_counter()
            state["run"]()
            seconds = min(seconds, time.perf_counter() - before)
        return {"seconds": seconds}

    return answer


def exported(python: str, folder: Path, *, only: Sequence[str], batch: int) -> Iterator[dict[str, Any]]:
    """Export networks by `export.py` under the peers' interpreter, unless the folder has them; name, kind, smooth."""
    command = [python, str(HERE / "export.py"), str(folder), "--batch", str(batch)]
    command += ["--only", *only] if only else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed; is torch installed there?")
