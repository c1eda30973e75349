"""What a machine must have for audits: interpreter, packages, processor, GPU, disk. Each check gives findings."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from auditor import runtime, sandbox
from auditor.errors import DeviceError, SpecError

_PYTHON = (3, 11)
_PACKAGES = ("onnx", "numpy", "scipy", "onnxscript", "sqlalchemy", "celery", "fastapi", "obstore", "pyarrow")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_DRIVER = 580  # the first major version that runs CUDA 13
_DRIVER_VERSION = Path("/proc/driver/nvidia/version")
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
_GIB = 1 << 30
_LITTLE, _TOO_LITTLE = 20 * _GIB, _GIB


@dataclass(frozen=True)
class Finding:
    """What a look at one thing gave. advice: what to do about a warning or an error."""

    name: str
    state: Literal["ok", "warning", "error"]
    message: str
    advice: str = ""


def python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] < _PYTHON:
        yield Finding("python", "error", f"{version} is too old", "install Python 3.11 or newer")
    else:
        yield Finding("python", "ok", f"{version} on {platform.platform()}")


def packages() -> Iterator[Finding]:
    """Versions, and whether two builds of ONNX Runtime overwrite each other."""
    installed = {name: version for name in (*_RUNTIMES, *_PACKAGES) if (version := version_of(name)) is not None}
    if missing := [name for name in _PACKAGES if name not in installed]:
        yield Finding("packages", "error", f"missing: {', '.join(missing)}", "install onnx-auditor again")
    yield Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in installed.items()))
    builds = [name for name in _RUNTIMES if name in installed]
    if len(builds) != 1:
        message = "onnxruntime and onnxruntime-gpu overwrite each other" if builds else "ONNX Runtime is missing"
        yield Finding("onnxruntime", "error", message, "uninstall both and install onnx-auditor again")


def version_of(package: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> Iterator[Finding]:
    features = runtime.fingerprint("cpu")["cpu"].split(",")
    count = f"{runtime.processors()} processors"
    if platform.machine() == "x86_64" and "avx2" not in features:
        yield Finding("processor", "warning", f"{count} without AVX2", "audits will be slow on this machine")
    else:
        yield Finding("processor", "ok", f"{count}, {', '.join(f for f in features if f) or platform.machine()}")


def gpu(device: str) -> Iterator[Finding]:
    """Whether the device of the settings works. device: cpu, cuda or cuda:N."""
    driver = driver_version()
    if driver is not None and int(driver.partition(".")[0]) < _DRIVER:
        state: Literal["error", "warning"] = "error" if device.startswith("cuda") else "warning"
        yield Finding("gpu", state, f"driver {driver} cannot run CUDA 13", f"install driver {_DRIVER} or newer")
    elif not device.startswith("cuda"):
        yield Finding(
            "gpu", "ok", f"not asked for; driver {driver}" if driver else "not asked for, and no driver here"
        )
    else:
        try:
            runtime.require("cuda")
        except DeviceError as error:
            yield Finding("gpu", "error", str(error))
        else:
            found = runtime.fingerprint("cuda")
            yield Finding("gpu", "ok", f"{found['gpu']}, driver {driver}, CUDA {found['cuda']}, CuPy {found['cupy']}")


def driver_version() -> str | None:
    """Of the NVIDIA kernel driver, such as 580.65.06."""
    try:
        found = re.search(r"\s(\d{3,}(?:\.\d+)+)\s", _DRIVER_VERSION.read_text())
    except OSError:
        return None
    return found[1] if found else None


def isolation(mode: str, data: Path) -> Iterator[Finding]:
    """How far what runs users' models is locked in. mode: the setting; data: the folder that it is to keep out of."""
    try:
        level = sandbox.check(mode)
    except SpecError as error:
        yield Finding("sandbox", "error", str(error))
        return
    if not level:
        message = "users' models run with all rights of the service's user"
        advice = "set AUDITOR_SANDBOX=best-effort" if mode == "off" else "use Linux 5.13 or newer with Landlock"
        yield Finding("sandbox", "warning", message, advice)
        return
    kept = ["files", *(name for least, name in ((4, "TCP"), (6, "signals")) if level >= least)]
    yield Finding("sandbox", "ok", f"Landlock at level {level} locks users' models in: {', '.join(kept)}")
    place = data.resolve()
    if above := [str(path) for path in sandbox.readable() if place.is_relative_to(path.resolve())]:
        message = f"{place} lies below {min(above)}, which models may read"
        yield Finding("sandbox", "warning", message, "move AUDITOR_DATA elsewhere")


def disk(folder: Path) -> Iterator[Finding]:
    """Room where data and scratch files go."""
    free = shutil.disk_usage(_nearest(folder)).free
    message = f"{free / _GIB:.1f} GiB free at {folder}"
    if free < _TOO_LITTLE:
        yield Finding("disk", "error", message, "make room; writes will fail")
    elif free < _LITTLE:
        yield Finding("disk", "warning", message, "make room, or shorten retention and run 'auditor gc'")
    else:
        yield Finding("disk", "ok", message)


def filesystem(folder: Path) -> str | None:
    """The network file system that the folder is on, if it is on one."""
    kind = _kind_of(_nearest(folder).resolve())
    return kind if kind in _NETWORK else None


def _kind_of(path: Path) -> str:
    """The file system's type, from the mount that is nearest above the path."""
    best, kind = -1, ""
    try:
        mounts = _MOUNTS.read_text().splitlines()
    except OSError:
        return kind
    for line in mounts:
        _, point, found, *_ = line.split()
        at = Path(point.replace("\\040", " "))
        if path.is_relative_to(at) and len(at.parts) >= best:
            best, kind = len(at.parts), found
    return kind


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))
