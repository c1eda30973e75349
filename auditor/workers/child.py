"""The child process: `python -m auditor.workers.child SANDBOX DEVICE`, started by `child_process.Child` alone.

Standard input and output are the pipe to the worker. It has no database and no credentials, and can be killed at any
time: what it had finished is in the checkpoints, which the worker keeps.
"""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from auditor import sandbox
from auditor.errors import AuditorError
from auditor.workers.pipe import Pipe, standard_pipe

if TYPE_CHECKING:
    from auditor.workers.commands import Arrays, Commands, Facts

_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Carry out the worker's commands until it closes the pipe. What is no AuditorError ends the process."""
    mode, device = sys.argv[1:]
    _restrict()
    sandbox.lock(Path.cwd(), mode, cuda=device == "cuda")
    # Not sooner: the lock holds for the threads that these imports start only when it is older than they are.
    from auditor.workers.commands import Commands

    pipe = standard_pipe()
    parent = _Parent(pipe)
    commands = Commands(parent, parent.step)
    pipe.send({"ready": True})
    while True:
        try:
            command, _ = pipe.receive()
        except EOFError:
            return
        pipe.send(_answer(commands, command))


def _answer(commands: "Commands", command: "Facts") -> "Facts":
    from auditor.report.schema import plain

    try:
        return {"answer": plain(commands.do(command))}
    except AuditorError as error:
        return {"refused": type(error).__name__, "message": str(error)}


class _Parent:
    """The worker, at the other end of the pipe: it keeps the checkpoints, and is told of every step."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def read(self, name: str) -> bytes | None:
        self._pipe.send({"read": name})
        facts, data = self._pipe.receive()
        return data if facts["found"] else None

    def write(self, name: str, data: bytes) -> None:
        self._pipe.send({"write": name}, data)

    def step(self, facts: "Facts", arrays: "Arrays") -> None:
        from auditor.audits.frames import encode
        from auditor.report.schema import plain

        self._pipe.send({"step": plain(facts)}, encode({}, arrays))


def _restrict() -> None:
    """Leave no core with users' data on the disk, gain no rights by running a program, and be the first to go when the
    machine's memory runs out: a file that needs too much of it ends its own check, and not the service."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")
    with suppress(OSError):  # where /proc cannot be written
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
