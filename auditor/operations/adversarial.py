"""adversarial.npz read in part: a row of it lies at a place that can be computed, for its members are not compressed."""

import io
import struct
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from auditor.store.artifacts import Artifacts, blob_key

_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: the lengths of its name and of its extra field
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Directory:
    """Where the rows of one file lie. rows: by norm and example; predicted: the class of each row's example.

    offsets: of the first rows of x_adv and, where the file has it, x; rows of both have `shape` and `dtype`.
    """

    key: str
    rows: dict[tuple[str, int], int]
    predicted: np.ndarray
    offsets: dict[str, int]
    shape: tuple[int, ...]
    dtype: np.dtype

    def predicted_as(self, norm: str, example: int) -> int:
        """The class that the example's adversarial example gets. KeyError where there is none."""
        return int(self.predicted[self.rows[norm, example]])

    def x_adv(self, artifacts: Artifacts, norm: str, example: int) -> np.ndarray:
        """The example's adversarial example, in the domain. KeyError where there is none."""
        return self._row(artifacts, "x_adv", norm, example)

    def x(self, artifacts: Artifacts, norm: str, example: int) -> np.ndarray | None:
        """The same before its change; None of a file that does not hold it. KeyError where nothing was found."""
        return self._row(artifacts, "x", norm, example) if "x" in self.offsets else None

    def _row(self, artifacts: Artifacts, column: str, norm: str, example: int) -> np.ndarray:
        size = prod(self.shape) * self.dtype.itemsize
        data = artifacts.read_range(self.key, self.offsets[column] + self.rows[norm, example] * size, size)
        return np.frombuffer(data, self.dtype).reshape(self.shape)


@lru_cache(maxsize=64)
def directory(artifacts: Artifacts, sha256: str, size: int) -> Directory:
    """The directory of a stored adversarial.npz. Raises ArtifactMissing."""
    file = io.BufferedReader(Stored(artifacts, blob_key(sha256), size), _BLOCK)
    with zipfile.ZipFile(file) as archive:
        norms, index, predicted = (_column(archive, name) for name in ("norm", "index", "predicted"))
        held = [name for name in ("x_adv", "x") if f"{name}.npy" in archive.namelist()]
        placed = {name: _placed(archive, file, f"{name}.npy") for name in held}
    _, shape, dtype = placed["x_adv"]
    offsets = {name: offset for name, (offset, *_) in placed.items()}
    rows = {key: row for row, key in enumerate(zip(norms.tolist(), index.tolist(), strict=True))}
    return Directory(blob_key(sha256), rows, predicted, offsets, shape[1:], dtype)


def _column(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _placed(archive: zipfile.ZipFile, file: io.BufferedIOBase, name: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Where the data of a member's array begin in the file, and the array's shape and type."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        header = member.tell()
    begins = archive.getinfo(name).header_offset
    file.seek(begins)
    return begins + 30 + sum(_LOCAL_HEADER.unpack(file.read(30))) + header, shape, dtype


class Stored(io.RawIOBase):
    """A blob as a file that is read in ranges."""

    def __init__(self, artifacts: Artifacts, key: str, size: int) -> None:
        self._artifacts, self._key, self._size, self._at = artifacts, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._artifacts.read_range(self._key, self._at, length)
        self._at += length
        return length
