"""A large file sent to the service, and what its process holds meanwhile."""

import hashlib
import random
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import httpx

from serving.installation import installed
from serving.processes import forget_peak, memory
from serving.table import Row, show, timed

_MIB = 1 << 20
_PART = 64 * _MIB


def measure(options: Namespace) -> list[Row]:
    """As one request, and in resumable parts; beside them the same bytes hashed and written by a plain loop.

    Two sizes tell whether what is held depends on the size.
    """
    rows = []
    with installed("sqlite") as installation, installation.client() as http:
        pid = installation.start("auditor.api").pid
        for mebibytes in (64, 128) if options.quick else (128, 1024):
            size = mebibytes * _MIB
            seconds = timed(lambda size=size: _plain(installation.settings.data, size))
            rows.append(_row("written by a loop", size, seconds))
            for name, send in {"one request": _at_once, "in parts": _in_parts}.items():
                forget_peak(pid)
                before = memory(pid)[0]
                seconds = timed(lambda send=send, size=size: send(http, size))
                rows.append(_row(name, size, seconds, before, memory(pid)[1]))
    show("Upload of a large file", rows)
    return rows


def _at_once(http: httpx.Client, size: int) -> None:
    headers = {"Content-Length": str(size)}
    _sent(http.post("/models", params={"name": "large", "wait": 0}, content=_bytes(size, 1), headers=headers))


def _in_parts(http: httpx.Client, size: int) -> None:
    upload = _sent(http.post("/uploads", json={"filename": "large.onnx", "size": size})).json()["id"]
    source = _bytes(size, 2)
    for start in range(0, size, _PART):
        part = (next(source) for _ in range(_PART // _MIB))
        headers = {"Upload-Offset": str(start), "Content-Length": str(min(_PART, size - start))}
        _sent(http.patch(f"/uploads/{upload}", content=part, headers=headers))
    _sent(http.post("/models", params={"name": "large", "wait": 0, "upload": upload}))


def _plain(folder: Path, size: int) -> None:
    digest = hashlib.sha256()
    with (folder / "plain").open("wb") as file:
        for chunk in _bytes(size, 3):
            digest.update(chunk)
            file.write(chunk)


def _bytes(size: int, seed: int) -> Iterator[bytes]:
    """A file of MiBs that differ."""
    chance = random.Random(seed)
    mebibyte = chance.randbytes(_MIB)
    for number in range(size // _MIB):
        yield number.to_bytes(8, "little") + mebibyte[8:]


def _row(name: str, size: int, seconds: float, before: int = 0, most: int = 0) -> Row:
    figures = {"MiB held before": before, "at most meanwhile": most}
    held = {title: f"{count / _MIB:.0f}" if count else "" for title, count in figures.items()}
    return {"sent": name, "MiB": size // _MIB, "MB/s": f"{size / 1e6 / seconds:.0f}", **held}


def _sent(answer: httpx.Response) -> httpx.Response:
    answer.raise_for_status()
    return answer
