"""Facts and arrays as bytes, and back: what checkpoints are stored as, and what crosses a pipe.

A frame is a mark with a version, a checksum, a JSON header with every array's type and shape, and the arrays' bytes
one after another, little-endian. Nothing in it is ever executed: reading one can fail, and cannot do anything else.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np

from auditor.errors import Damaged

MAX_BYTES: Final = 4 << 30
MAX_HEADER_BYTES: Final = 64 << 20

_MARK = b"auditor\x01"
_PREFIX = struct.Struct("<8sII")  # mark, CRC-32 of all that follows it, bytes of the header
_CHECKED_FROM = 12
_NUMBERS = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
_MAX_TEXT = 4096  # bytes of one fixed-width text
_MAX_AXES = 32


def encode(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A frame. facts: what JSON can say; arrays: booleans, numbers or fixed-width text of any shape.

    Equal values give equal bytes. Raises ValueError for another type of array, and for more than MAX_BYTES.
    """
    plain = {name: _little_endian(name, array) for name, array in arrays.items()}
    described = [[name, array.dtype.str, list(array.shape)] for name, array in plain.items()]
    header = json.dumps({"facts": facts, "arrays": described}, separators=(",", ":")).encode()
    size = _PREFIX.size + len(header) + sum(array.nbytes for array in plain.values())
    if size > MAX_BYTES or len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"{size} bytes are more than a frame may have ({MAX_BYTES})")
    frame = bytearray(size)
    view = memoryview(frame)
    start = _PREFIX.size + len(header)
    view[_PREFIX.size : start] = header
    for array in plain.values():
        np.frombuffer(view[start : start + array.nbytes], np.uint8)[:] = array.reshape(-1).view(np.uint8)
        start += array.nbytes
    _PREFIX.pack_into(frame, 0, _MARK, 0, len(header))
    struct.pack_into("<I", frame, 8, zlib.crc32(view[_CHECKED_FROM:]))
    return bytes(frame)


def decode(frame: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts and arrays of a frame; the arrays are copies. Raises Damaged for bytes that `encode` did not write."""
    if not _PREFIX.size <= len(frame) <= MAX_BYTES:
        raise Damaged(f"{len(frame)} bytes are no frame")
    mark, checksum, length = _PREFIX.unpack_from(frame)
    if mark != _MARK:
        raise Damaged("the mark of a frame is missing, or it is of another version")
    view = memoryview(frame)
    if zlib.crc32(view[_CHECKED_FROM:]) != checksum:
        raise Damaged("the checksum of a frame does not fit")
    start = _PREFIX.size + length
    if length > MAX_HEADER_BYTES or start > len(frame):
        raise Damaged(f"a frame's header of {length} bytes is longer than it may be")
    facts, described = _header(bytes(view[_PREFIX.size : start]))
    arrays = {}
    for name, dtype, shape in described:
        stop = start + prod(shape) * dtype.itemsize
        if stop > len(frame):
            raise Damaged(f"a frame ends inside the array '{name}'")
        # As bytes first: a text of no characters has no bytes to read an array from.
        arrays[name] = np.frombuffer(view[start:stop], np.uint8).copy().view(dtype).reshape(shape)
        start = stop
    if start != len(frame):
        raise Damaged(f"{len(frame) - start} bytes follow a frame's last array")
    return facts, arrays


def _little_endian(name: str, array: np.ndarray) -> np.ndarray:
    dtype = array.dtype.newbyteorder("<")
    if not _is_known(dtype):
        raise ValueError(f"the array '{name}' is of type {array.dtype}, which a frame does not hold")
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _is_known(dtype: np.dtype[Any]) -> bool:
    return dtype.str in _NUMBERS or (dtype.kind == "U" and 0 < dtype.itemsize <= _MAX_TEXT)


def _header(text: bytes) -> tuple[dict[str, Any], list[tuple[str, np.dtype[Any], tuple[int, ...]]]]:
    try:
        header = json.loads(text)
        facts, described = header["facts"], [_described(*entry) for entry in header["arrays"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Damaged(f"a frame's header is not understood: {error}") from None
    if not isinstance(facts, dict) or len({name for name, _, _ in described}) != len(described):
        raise Damaged("a frame's header is not understood: facts without names, or two arrays of one name")
    return facts, described


def _described(name: object, type_text: object, shape: object) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    if not isinstance(name, str) or not isinstance(type_text, str) or not isinstance(shape, list):
        raise TypeError("an array is described by its name, type and shape")
    if type_text not in _NUMBERS and not (type_text[:2] == "<U" and type_text[2:].isdecimal() and len(type_text) < 8):
        raise ValueError(f"arrays of type {type_text[:20]!r} are not held")
    dtype = np.dtype(type_text)
    if not _is_known(dtype) or len(shape) > _MAX_AXES:
        raise ValueError(f"an array of type {dtype} with {len(shape)} axes is not held")
    if not all(type(side) is int and 0 <= side <= MAX_BYTES for side in shape):
        raise ValueError("an array's sides are whole numbers from 0")
    return name, dtype, tuple(shape)
