"""Who decodes image files: this process, or one of its own that a hostile file may end without ending the audit."""

import dataclasses
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.data import pictures
from auditor.data.pictures import Picture
from auditor.errors import Damaged, DatasetError

MAX_SECONDS = 60.0  # for one image
MODULE = "auditor.data.pictures"


class Decoder(Protocol):
    """Decodes one image file at a time. Raises DatasetError naming the file when it cannot be decoded."""

    def size(self, content: bytes, name: str) -> tuple[int, int]:
        """Pillow's size (width, height)."""
        ...

    def pixels(self, content: bytes, name: str, picture: Picture) -> NDArray[np.uint8]:
        """Grey levels, (height, width, channels)."""
        ...


class Here:
    """In this process: where it is itself a limited one, and where there are no others."""

    def size(self, content: bytes, name: str) -> tuple[int, int]:
        return pictures.size(content, name)

    def pixels(self, content: bytes, name: str, picture: Picture) -> NDArray[np.uint8]:
        return _array(pictures.pixels(content, name, picture), picture)


class Apart:
    """In a process of its own, started for the first image: it has MAX_BYTES of memory and MAX_SECONDS for an image, starts no
    program, opens no connection (where the kernel can see to that, see `auditor.sandbox`) and holds nothing but that image. After one that
    ends it, the next image gets another."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._held: dict[str, Any] = {}  # the process and its folder, apart from self so that both end with it
        weakref.finalize(self, _end, self._held)

    def size(self, content: bytes, name: str) -> tuple[int, int]:
        width, height = self._ask(content, name, None)[0]["size"]
        return width, height

    def pixels(self, content: bytes, name: str, picture: Picture) -> NDArray[np.uint8]:
        return _array(self._ask(content, name, dataclasses.asdict(picture))[1], picture)

    def _ask(self, content: bytes, name: str, picture: dict[str, Any] | None) -> tuple[dict[str, Any], bytes]:
        from auditor.processes.process import Silent

        with self._one_at_a_time:
            process = self._process()
            process.watch(lambda: False, MAX_SECONDS)
            try:
                process.pipe.send({"name": name, "picture": picture}, content)
                facts, payload = process.pipe.receive()
            except Silent:
                _end(self._held)
                raise DatasetError(
                    f"{name} takes more than {MAX_SECONDS:.0f} s to decode; remove or convert it."
                ) from None
            except (EOFError, Damaged):
                how = _end(self._held).splitlines()[0]
                raise DatasetError(
                    f"{name} cannot be decoded: the process that did {how}; remove or replace it."
                ) from None
            except BaseException:  # such as an interruption: half a message is no beginning of another
                _end(self._held)
                raise
        if "refused" in facts:
            raise DatasetError(facts["refused"])
        return facts, payload

    def _process(self) -> Any:
        from auditor.processes.process import Process

        if "process" in self._held and not self._held["process"].alive:
            _end(self._held)
        if "process" not in self._held:
            self._held["folder"] = tempfile.TemporaryDirectory(prefix="auditor-decoding-")
            self._held["process"] = Process(MODULE, Path(self._held["folder"].name), 4000)
        return self._held["process"]


def apart() -> Decoder:
    """A process of its own where this system has what that takes."""
    return Here() if sys.platform == "win32" else Apart()


def _end(held: dict[str, Any]) -> str:
    """How it ended."""
    said = held.pop("process").end() if "process" in held else ""
    if "folder" in held:
        held.pop("folder").cleanup()
    return str(said)


def _array(levels: bytes, picture: Picture) -> NDArray[np.uint8]:
    return np.frombuffer(levels, np.uint8).reshape(picture.height, picture.width, picture.channels)
