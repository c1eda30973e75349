"""Waiting for audits without holding a thread: one look at the database for everyone who waits."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from auditor.operations import audits
from auditor.operations.service import Service

_SECONDS = 0.2  # between two looks


@dataclass(frozen=True, eq=False)
class _Wait:
    audit_id: str
    seen: tuple[str, int]
    over: asyncio.Future[None]


class Watch:
    """Belongs to one event loop. It looks only while somebody waits."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waits: set[_Wait] = set()
        self._looking: asyncio.Task[None] | None = None

    async def changed(self, audit_id: str, seen: tuple[str, int], seconds: float) -> bool:
        """Wait until the audit's sign is not as it was seen, or is gone; False when the seconds are over first."""
        wait = _Wait(audit_id, seen, asyncio.get_running_loop().create_future())
        self._waits.add(wait)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(wait.over, seconds)
        except TimeoutError:
            return False
        finally:
            self._waits.discard(wait)
        return True

    async def _look(self) -> None:
        while self._waits:
            try:
                signs = await run_in_threadpool(audits.signs, self._service, {wait.audit_id for wait in self._waits})
            except Exception as error:
                self._end(dict.fromkeys(self._waits, error))
                return
            self._end({wait: None for wait in self._waits if signs.get(wait.audit_id) != wait.seen})
            await asyncio.sleep(_SECONDS)

    def _end(self, ended: dict[_Wait, Exception | None]) -> None:
        for wait, error in ended.items():
            if wait.over.done():
                continue
            if error is None:
                wait.over.set_result(None)
            else:
                wait.over.set_exception(error)


def _watch_of(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


WatchDep = Annotated[Watch, Depends(_watch_of)]
