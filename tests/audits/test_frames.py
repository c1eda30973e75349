"""What is decoded is what was encoded, and anything else is refused without being believed."""

import json
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from auditor.audits import frames
from auditor.audits.frames import decode, encode
from auditor.errors import Damaged

DTYPES = ["bool", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<U1", "<U40"]


def framed(header, payload=b""):
    """A frame with a checksum that fits and whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    checked = struct.pack("<I", len(text)) + text + payload
    return b"auditor\x01" + struct.pack("<I", zlib.crc32(checked)) + checked


def described(*entries):
    return {"facts": {}, "arrays": list(entries)}


@given(
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=9) | st.lists(st.booleans())),
    st.dictionaries(
        st.text(max_size=9),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        max_size=3,
    ),
)
def test_what_is_decoded_is_what_was_encoded(facts, arrays):
    found, decoded = decode(encode(facts, arrays))
    assert found == facts
    assert list(decoded) == list(arrays)
    for name, array in arrays.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].shape == array.shape
        assert decoded[name].tobytes() == array.tobytes()
        assert decoded[name].flags.writeable


def test_numbers_keep_every_bit():
    odd = np.array([np.nan, -0.0, np.inf, 5e-324])
    assert decode(encode({}, {"odd": odd}))[1]["odd"].tobytes() == odd.tobytes()


def test_the_order_of_bytes_in_memory_is_not_kept():
    swapped, strided = np.arange(6, dtype=">i4").reshape(2, 3), np.arange(12)[::2].reshape(3, 2).T
    _, decoded = decode(encode({}, {"swapped": swapped, "strided": strided}))
    assert np.array_equal(decoded["swapped"], swapped)
    assert decoded["swapped"].dtype == np.dtype("<i4")
    assert np.array_equal(decoded["strided"], strided)


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["2026"], "M8[D]"), np.zeros(2, [("a", "i4")]), np.array([b"raw"])]
)
def test_other_types_are_not_encoded(array):
    with pytest.raises(ValueError, match="does not hold"):
        encode({}, {"array": array})


@given(st.data())
def test_a_changed_or_missing_byte_is_noticed(data):
    frame = bytearray(encode({"a": 1}, {"x": np.arange(5), "y": np.array(["b", "c"])}))
    place = data.draw(st.integers(0, len(frame) - 1))
    if data.draw(st.booleans()):
        frame[place] ^= data.draw(st.integers(1, 255))
    else:
        del frame[place:]
    with pytest.raises(Damaged):
        decode(bytes(frame))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data):
    with pytest.raises(Damaged):
        decode(data)
    with pytest.raises(Damaged):
        decode(framed(data))


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (described(["x", "|O", [1]]), b"12345678"),
        (described(["x", "<U99999", [1]]), b""),
        (described(["x", "<U0", [1]]), b""),
        (described(["x", "<M8[D]", [1]]), b"12345678"),
        (described(["x", "V8", [1]]), b"12345678"),
        (described(["x", "<f4", [2]]), b"1234"),
        (described(["x", "<f4", [1]]), b"12345678"),
        (described(["x", "<f4", [-1]]), b"1234"),
        (described(["x", "<f4", [1 << 62, 1 << 62]]), b"1234"),
        (described(["x", "<f4", [True]]), b"1234"),
        (described(["x", "<f4", ["1"]]), b"1234"),
        (described(["x", "<f4", [1] * 33]), b"1234"),
        (described(["x", "<f4", [1]], ["x", "<f4", [1]]), b"12341234"),
        (described(["x", "<f4"]), b""),
        (described("xyz"), b""),
        ({"facts": [], "arrays": []}, b""),
        ({"facts": {}}, b""),
        ([], b""),
        (b"[" * 100_000, b""),
    ],
)
def test_a_header_that_fits_its_checksum_is_not_believed(header, payload):
    with pytest.raises(Damaged):
        decode(framed(header, payload))


def test_a_pickle_is_never_loaded():
    class Bomb:
        def __reduce__(self):
            return print, ("executed",)

    with pytest.raises(Damaged):
        decode(framed(described(["x", "|O", [1]]), pickle.dumps(Bomb())))


def test_what_is_larger_than_allowed_is_neither_written_nor_read(monkeypatch):
    frame = encode({}, {"x": np.zeros(100)})
    monkeypatch.setattr(frames, "MAX_BYTES", 500)
    with pytest.raises(ValueError, match="more than a frame may have"):
        encode({}, {"x": np.zeros(100)})
    with pytest.raises(Damaged):
        decode(frame)
