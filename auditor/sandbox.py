"""What a process that runs users' models may touch, kept by the kernel: Landlock (Linux 5.13 and newer).

It may read the Python installation and the system's programs and libraries, /etc, /proc and /sys, and read and write
its own scratch folder. It starts no program, opens no TCP connection (level 4 and newer) and signals no other process
(level 6 and newer); the memory and the environment of others are closed to it too. Of root's rights it keeps those on
files alone. On a GPU it may also use NVIDIA's devices and /dev/shm, and start programs, which are locked in as it is.

Landlock lists what is allowed and cannot take anything out of it: a data folder below a readable folder, such as one
inside sys.prefix, can be read all the same, and the doctor warns of it. UDP and sockets in the file system stay open.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from auditor.errors import SpecError

MODES = ("best-effort", "required", "off")

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1
_EXECUTE, _WRITE, _READ, _LIST = (1 << bit for bit in range(4))
# Remove folders and files; make folders and regular files; move between folders; cut files. No links, pipes or
# devices: the worker reads what lies there, with all its rights.
_CHANGE = sum(1 << bit for bit in (4, 5, 7, 8, 13, 14))
_CONTROL = 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | 1 << 14 | _CONTROL
_BITS = (13, 14, 15, 15, 16)  # how many rights on files there are at level 1, 2, …
_CONNECT = 3  # bind and connect; from level 4
_SCOPED = 3  # abstract sockets and signals; from level 6

_CAPABILITIES = struct.pack("=Ii", 0x20080522, 0)  # version 3, of this thread
_ON_FILES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/etc", "/proc", "/sys")
_SOURCES = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def level() -> int:
    """The version of the kernel's Landlock; 0 where there is none."""
    try:
        return _call(_CREATE, None, 0, _VERSION)
    except OSError:  # too old, built without it, not switched on, or forbidden by a container
        return 0


def check(mode: str) -> int:
    """The level at which processes are locked in; 0: not at all. mode: best-effort, required, off.

    Raises SpecError for another mode, and for `required` where the kernel has no Landlock.
    """
    if mode not in MODES:
        raise SpecError(f"AUDITOR_SANDBOX={mode} is not understood; choose {', '.join(MODES)}")
    found = 0 if mode == "off" else level()
    if mode == "required" and not found:
        raise SpecError(
            "AUDITOR_SANDBOX=required, but there is no Landlock here; it takes Linux 5.13 or newer with 'landlock' in "
            "/sys/kernel/security/lsm and a container that permits it; or set AUDITOR_SANDBOX=best-effort"
        )
    return found


def lock(scratch: Path, mode: str, *, cuda: bool) -> None:
    """Lock this thread in for good, and with it all that it starts: call it before there are other threads.

    The process must have set no_new_privs. Raises SpecError as `check` does, and OSError when the kernel refuses.
    """
    found = check(mode)
    if not found:
        return
    handled = (1 << _BITS[min(found, len(_BITS)) - 1]) - 1
    network, scoped = _CONNECT if found >= 4 else 0, _SCOPED if found >= 6 else 0
    rules = _call(_CREATE, struct.pack("=QQQ", handled, network, scoped), 24, 0)
    for path, rights in _allowed(scratch, cuda):
        _allow(rules, path, rights & handled)
    _call(_RESTRICT, rules, 0)
    os.close(rules)
    _drop_capabilities()
    if cuda:  # compiled kernels are kept in the home folder else
        os.environ |= {"CUPY_CACHE_DIR": str(scratch / ".cupy"), "CUDA_CACHE_PATH": str(scratch / ".nv")}


def readable() -> set[Path]:
    """The folders that may be read, as far as they exist: the installation and the system's."""
    package = Path(__file__).parent
    found = {package, *map(Path, (sys.prefix, sys.base_prefix, *_SYSTEM))}
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found |= {Path(entry).absolute() for entry in (*sys.path, *libraries) if entry}
    if (package.parent / "pyproject.toml").exists():  # a checkout: what lies beside the package is none of it
        found.discard(package.parent)
    return found


def _allowed(scratch: Path, cuda: bool) -> Iterator[tuple[Path, int]]:
    yield from ((path, _READ | _LIST | (_EXECUTE if cuda else 0)) for path in readable())
    yield from ((Path(name), _READ) for name in _SOURCES)
    yield Path("/dev/null"), _READ | _WRITE
    yield scratch, _READ | _WRITE | _LIST | _CHANGE
    if cuda:
        yield from ((path, _READ | _WRITE | _LIST | _CONTROL) for path in Path("/dev").glob("nvidia*"))
        yield Path("/dev/shm"), _READ | _WRITE | _LIST | _CHANGE


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # nothing that this process could use
        return
    try:
        allowed = rights if path.is_dir() else rights & _OF_FILES
        _call(_ADD, rules, _BENEATH, struct.pack("=Qi", allowed, place), 0)
    finally:
        os.close(place)


def _drop_capabilities() -> None:
    """Root may read the memory of others past Landlock; what it may do with files, Landlock has the last word on."""
    libc, held = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(24)
    libc.capget(_CAPABILITIES, held)
    effective, permitted, *_ = struct.unpack("=6I", held.raw)
    if libc.capset(_CAPABILITIES, struct.pack("=6I", effective & _ON_FILES, permitted & _ON_FILES, 0, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities could not be given up")


def _call(number: int, *arguments: int | bytes | None) -> int:
    if sys.platform != "linux":
        raise OSError("Landlock is Linux's")
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock's system call {number} failed")
    return int(result)
