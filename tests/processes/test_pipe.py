"""Messages arrive whole and as they were sent, however the bytes come, and what is no message is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import Damaged
from auditor.processes import pipe
from auditor.processes.pipe import Pipe

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
FACTS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)


def sent(*messages):
    """The bytes of messages."""
    written = []
    for facts, payload in messages:
        Pipe(lambda size: b"", written.append).send(facts, payload)
    return b"".join(written)


def receiving(data, most=1 << 30):
    """An end that gets these bytes, at most so many at once."""
    rest = memoryview(data)

    def read(size):
        nonlocal rest
        given, rest = bytes(rest[: min(size, most)]), rest[min(size, most) :]
        return given

    return Pipe(read, lambda data: None)


@given(st.lists(st.tuples(FACTS, st.binary(max_size=50)), max_size=4), st.integers(1, 40))
def test_what_arrives_is_what_was_sent_in_however_many_pieces(messages, most):
    end = receiving(sent(*messages), most)
    for message in messages:
        assert end.receive() == message
    with pytest.raises(EOFError):
        end.receive()


@given(FACTS, st.binary(max_size=50), st.data())
def test_an_end_in_the_middle_is_an_end(facts, payload, data):
    whole = sent((facts, payload))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(EOFError):
        receiving(whole[:cut]).receive()


@given(st.binary(min_size=16, max_size=60))
def test_other_bytes_are_refused(data):
    with pytest.raises(Damaged):
        receiving(data).receive()


def framed(text):
    return struct.pack("<4sIQ", b"msg\x01", len(text), 0) + text


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000], ids=range(6))
def test_facts_are_a_json_object(text):
    with pytest.raises(Damaged):
        receiving(framed(text)).receive()


@pytest.mark.parametrize("sizes", [(pipe.MAX_FACTS + 1, 0), (2, pipe.MAX_PAYLOAD + 1), (2, (1 << 64) - 1)])
def test_more_than_a_message_may_have_is_refused_before_it_is_read(sizes):
    with pytest.raises(Damaged):
        receiving(struct.pack("<4sIQ", b"msg\x01", *sizes)).receive()


def test_a_claimed_length_takes_no_memory():
    asked = []

    def read(size):
        asked.append(size)
        return struct.pack("<4sIQ", b"msg\x01", 2, pipe.MAX_PAYLOAD) if len(asked) == 1 else b"{}"[: 3 - len(asked)]

    with pytest.raises(EOFError):
        Pipe(read, lambda data: None).receive()
    assert max(asked) <= 1 << 20


def test_what_is_not_json_or_too_long_is_not_sent(monkeypatch):
    monkeypatch.setattr(pipe, "MAX_PAYLOAD", 3)
    for facts, payload in (({"a": float("nan")}, b""), ({}, b"long")):
        with pytest.raises(ValueError):
            sent((facts, payload))
