"""Memory of processes, from /proc."""

from pathlib import Path


def memory(pid: int) -> tuple[int, int]:
    """Bytes of RAM that a process holds, and the most that it ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest}
    return kib["VmRSS"] << 10, kib["VmHWM"] << 10


def forget_peak(pid: int) -> None:
    """Let the most that a process ever held begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are there."""
    started = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for pids in started for child in pids]
