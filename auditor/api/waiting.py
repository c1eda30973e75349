"""Waiting for something without holding a thread."""

import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import anyio
from fastapi import Query
from fastapi.concurrency import run_in_threadpool

Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the check before answering")]
T = TypeVar("T")


async def until(done: Callable[[T], bool], first: T, look: Callable[[], T], seconds: float) -> T:
    """What `look` gives once it is `done`, or at the latest after so many seconds. first: what is known now."""
    deadline, pause, found = time.monotonic() + seconds, 0.05, first
    while not done(found) and time.monotonic() < deadline:
        await anyio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(0.5, 1.5 * pause)
        found = await run_in_threadpool(look)
    return found
