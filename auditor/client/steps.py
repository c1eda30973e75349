"""A call of the client as a value: a generator that asks for steps and is told what came of them.

Every call is written once, in `client.calls`, and knows neither sockets nor event loops; `Client` and `AsyncClient`
do its steps. A step that fails for want of a connection raises ConnectionLost inside the call.
"""

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """path: below the service's URL, quoted. repeatable: done twice, it does what it does once. timeout: seconds of
    silence. stream: the answer's body is left to be read by `Read`."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    repeatable: bool = True
    timeout: float = 60.0
    stream: bool = False


@dataclass(frozen=True)
class Read:
    """The next bytes of the answer that is being streamed; b"" at its end."""


@dataclass(frozen=True)
class Pause:
    """Do nothing for this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Give(Generic[T]):
    """One value for whoever iterates over the call."""

    value: T


@dataclass(frozen=True)
class Answer:
    """What came back. headers: by lower-case name; body: empty while it is streamed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class ConnectionLost(Exception):
    """No answer came. sent: the request may have reached the service."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


Step = Request | Read | Pause
Call = Generator[Step, Any, T]
Stream = Generator[Step | Give[T], Any, None]


def given(call: Call[T]) -> Stream[T]:
    """A call as a stream of one value: its result."""
    yield Give((yield from call))


def method_of(call: Callable[..., Any], method: Callable[..., Any]) -> Any:
    """`method` under the name, documentation and parameters of `call`, after the client itself."""
    functools.update_wrapper(method, call)
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.Signature([client, *inspect.signature(call).parameters.values()])
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method
