"""What a process that handles users' files gives up for good."""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38


def restrict() -> None:
    """Leave no core with users' data on the disk, gain no rights by running a program, and be the first to go when the
    machine's memory runs out: a file that needs too much of it ends its own check, and not the service."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")
    with suppress(OSError):  # where /proc cannot be written
        Path("/proc/self/oom_score_adj").write_text("1000")
