"""What a worker process does beside its work: it shows that it lives, and frees what dead workers held."""

import os
import socket
import subprocess
import threading
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from auditor.logs import log
from auditor.operations.service import Service
from auditor.operations.work import items, presence

_EVERY = 3.0  # seconds


def run(service: Service, owner: str, kinds: Sequence[str], device: str, stop: threading.Event) -> None:
    """Until told to stop, every few seconds: note in the database that this worker lives, and sweep expired leases."""
    started = presence.Started(owner, socket.gethostname(), os.getpid(), device, tuple(kinds))
    while True:
        try:
            presence.report(service, started, gpu_memory() if device == "cuda" else None)
            items.sweep(service)
        except SQLAlchemyError as error:
            log.warning("chores.failed", error=str(error))
        if stop.wait(_EVERY):
            break
    presence.leave(service, owner)


def gpu_memory() -> tuple[int, int] | None:
    """Bytes in use and bytes there are on this process's GPU; None where the driver's tool does not say."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    asked = ["nvidia-smi", f"--id={chosen}", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
        used, total = (int(mebibytes) << 20 for mebibytes in told.stdout.split(","))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return used, total
