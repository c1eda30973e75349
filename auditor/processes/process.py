"""A Python module as a process of its own, with a pipe to it, a bounded memory of what it prints, and a sure end."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from auditor.processes.pipe import Pipe

_LOOK = 0.2  # seconds between two questions whether to stop
_GRACE = 1.0  # seconds that a process which closed its pipe has left to end
_PIPE_BYTES = 1 << 20
# What it may know of this process's environment: where programs and devices are; no addresses and no secrets.
_PASSED = re.compile(r"PATH|HOME|LANG|LC_\w+|TZ|LD_LIBRARY_PATH|PYTHON\w+|VIRTUAL_ENV|(CUDA|NVIDIA|OMP|CUPY)_\w+")


class Stopped(Exception):
    """Asked whether to stop, the caller said yes."""


class Silent(Exception):
    """Nothing came from the process for too long."""


class Process:
    """Runs `python -m MODULE [ARGUMENT]…` with its pipe on standard input and output.

    folder: where it runs and keeps temporary files. It is killed when the thread that made it ends, and has a session
    of its own, so that a terminal's signals do not reach it and whatever it starts ends with it.
    """

    def __init__(self, module: str, folder: Path, tail: int, *arguments: str) -> None:
        self._printed, self._tail = bytearray(), tail
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "auditor.processes.tied", str(os.getpid()), module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
            pipesize=_PIPE_BYTES,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: PT018
        self._in, self._out, self._err = (
            stream.fileno() for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        self._prints, self._closed = True, False
        self.pipe = Pipe(self._read, self._write)
        self.watch(lambda: False, float("inf"))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def watch(self, stop: Callable[[], bool], silence: float) -> None:
        """While the pipe waits from now on, ask stop() several times a second, and wait `silence` seconds at most."""
        self._stop, self._silence, self._asked_at = stop, silence, -float("inf")

    def end(self) -> str:
        """Kill the process and its session, unless it ends by itself, having closed its pipe. How it ended, and on the
        lines below the last of what it printed."""
        if self._closed:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._drain()
        self._prints = False
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
        printed = self._printed.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
        return "\n".join(filter(None, [_ending(self._process.returncode), printed]))

    def _read(self, size: int) -> bytes:
        self._await(self._out, select.POLLIN)
        data = os.read(self._out, size)
        self._closed = not data
        return data

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._await(self._in, select.POLLOUT)
            try:
                view = view[os.write(self._in, view) :]
            except BrokenPipeError:
                self._closed = True
                raise EOFError("the other end of the pipe is closed") from None

    def _await(self, descriptor: int, event: int) -> None:
        """Until the descriptor is ready; what is printed meanwhile is read, so that printing never blocks."""
        began = time.monotonic()
        while True:
            if time.monotonic() - self._asked_at >= _LOOK:
                self._asked_at = time.monotonic()
                if self._stop():
                    raise Stopped
            ready = select.poll()
            ready.register(descriptor, event)
            if self._prints:
                ready.register(self._err, select.POLLIN)
            found = {number for number, _ in ready.poll(1000 * _LOOK)}
            if self._err in found:
                self._drain()
            if descriptor in found:
                return
            if time.monotonic() - began >= self._silence:
                raise Silent(f"nothing came from it for {self._silence:g} seconds")

    def _drain(self) -> None:
        while self._prints:
            try:
                printed = os.read(self._err, 1 << 16)
            except BlockingIOError:
                return
            self._prints = bool(printed)
            self._printed += printed
            del self._printed[: -self._tail]


def _environment(folder: Path) -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    paths = [str(Path(__file__).parents[2]), *filter(None, [passed.get("PYTHONPATH")])]
    # One thread for linear algebra: see `auditor.cli.main`.
    return {**passed, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (" (too little memory?)" if -code == signal.SIGKILL else "")
