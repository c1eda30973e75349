"""The child process: `python -m auditor.workers.child SANDBOX DEVICE`, started by `child_process.Child` alone.

It says {"ready"}, then answers each {"do": …} with {"answer"}, {"refused", "message"} or by dying; in between it may say
{"step"} with a frame, {"write": name} with bytes, and ask {"read": name}, which gets {"found"} with bytes.

Standard input and output are the pipe to the worker. It has no database and no credentials, and can be killed at any
time: what it had finished is in the checkpoints, which the worker keeps.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auditor import sandbox
from auditor.errors import AuditorError
from auditor.processes.pipe import Pipe, standard_pipe
from auditor.processes.restrict import restrict

if TYPE_CHECKING:
    from auditor.workers.commands import Arrays, Commands, Facts


def main() -> None:
    """Carry out the worker's commands until it closes the pipe. What is no AuditorError ends the process."""
    mode, device = sys.argv[1:]
    restrict()
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


if __name__ == "__main__":
    main()
