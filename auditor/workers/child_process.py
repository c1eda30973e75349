"""The worker's side of a child process: started when it is first needed, told what to do, killed when it must end."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from auditor.audits.frames import decode
from auditor.errors import AuditorError, Damaged, OutOfTime
from auditor.processes.process import Process, Silent, Stopped

Facts = dict[str, Any]
OnRead = Callable[[str], bytes | None]
OnWrite = Callable[[str, bytes], None]
OnStep = Callable[[Facts, dict[str, np.ndarray]], None]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class ChildDied(AuditorError):
    """The child process ended by itself, fell silent, or was killed because its work is to stop (then `stopped`)."""

    def __init__(self, message: str, *, stopped: bool = False) -> None:
        super().__init__(message)
        self.stopped = stopped


class ChildRefused(AuditorError):
    """The child could not do what it was told, and said why. kind: the name of the AuditorError, such as ModelError."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """One child process at a time, for one audit or one check.

    scratch: an existing folder that is its own, the only one that it may write, and that holds what it is to read;
    sandbox: how sure it is to be locked in there, see `auditor.sandbox`; cuda: whether it may use a GPU.

    The thread that makes the first call must outlive the child: it dies with that thread. After anything but an
    answer, ChildRefused or OutOfTime the process is gone; the next call starts another, in which nothing is open.
    """

    def __init__(
        self, *, scratch: Path, sandbox: str = "best-effort", cuda: bool = False, stderr_tail: int = 4000
    ) -> None:
        self._scratch, self._tail = scratch, stderr_tail
        self._arguments = (sandbox, "cuda" if cuda else "cpu")
        self._process: Process | None = None

    def start(self) -> Process:
        """The process, started unless it runs: it then loads what takes long before anything is asked of it."""
        if self._process is None:
            self._process = Process("auditor.workers.child", self._scratch, self._tail, *self._arguments)
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def call(
        self,
        command: Mapping[str, Any],
        *,
        on_read: OnRead,
        on_write: OnWrite,
        on_step: OnStep,
        stop: Callable[[], bool],
        silence: float,
    ) -> Facts:
        """Have it do {"do": NAME, …}; see `commands.Commands`.

        on_read, on_write: its checkpoints, by name; on_step: facts and arrays of a step that is saved; stop: asked
        several times a second whether to kill it; silence: seconds without a message after which it counts as dead.
        Raises ChildRefused, OutOfTime, ChildDied, and whatever the callbacks raise.
        """
        try:
            answer = _exchange(self.start(), command, on_read, on_write, on_step, stop, silence)
        except BaseException as error:
            died = _obituary(error, self.close())
            if died is None:
                raise
            raise died from error
        if "refused" not in answer:
            result: Facts = answer["answer"]
            return result
        kind, message = str(answer["refused"]), str(answer["message"])
        raise OutOfTime(message) if kind == OutOfTime.__name__ else ChildRefused(kind, message)

    def close(self) -> str:
        """Kill the process, if there is one, with all that it started; how it ended, and the last that it printed."""
        if self._process is None:
            return ""
        process, self._process = self._process, None
        return process.end()


def _exchange(
    process: Process,
    command: Mapping[str, Any],
    on_read: OnRead,
    on_write: OnWrite,
    on_step: OnStep,
    stop: Callable[[], bool],
    silence: float,
) -> Facts:
    """Send a command and serve the child until it answers."""
    process.watch(stop, silence)
    process.pipe.send(command)
    while True:
        told, payload = process.pipe.receive()
        facts = _storable(told)
        if "step" in facts:
            on_step(facts["step"], decode(payload)[1])
        elif "write" in facts:
            on_write(_name(facts["write"]), payload)
        elif "read" in facts:
            data = on_read(_name(facts["read"]))
            process.pipe.send({"found": data is not None}, data or b"")
        elif "answer" in facts or "refused" in facts:
            return facts
        elif "ready" not in facts:
            raise Damaged(f"a message with {', '.join(sorted(facts)[:5])} is not understood")


def _storable(told: Any) -> Any:
    """The same with every text as any database and any answer can hold it: without NUL and halves of characters."""
    if isinstance(told, str):
        return told.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(told, list):
        return [_storable(each) for each in told]
    if isinstance(told, dict):
        return {_storable(name): _storable(each) for name, each in told.items()}
    return told


def _name(name: object) -> str:
    """A checkpoint's name, which may become part of a path."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Damaged("a checkpoint's name has characters that none has")
    return name


def _obituary(error: BaseException, end: str) -> ChildDied | None:
    """What an exception says of the child; None where it is about something else. end: how the process ended."""
    if isinstance(error, Stopped):
        return ChildDied("the child process was killed: its work is to stop", stopped=True)
    if isinstance(error, Silent):
        return ChildDied(f"the child process was killed: {error}")
    if isinstance(error, EOFError):
        return ChildDied(f"the child process {end}")
    if isinstance(error, Damaged):
        return ChildDied(f"the child process was killed for what it sent: {error}")
    return None
