"""Who calls: the API key in `Authorization: Bearer aud_PREFIX_SECRET`, its scopes and its rate."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import limits
from fastapi import BackgroundTasks, Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from auditor.logs import log
from auditor.operations import access
from auditor.operations.access import Caller
from auditor.operations.errors import RateLimited, Unauthorised
from auditor.operations.service import Service
from auditor.settings import Settings

_FRESH_SECONDS = 5.0  # a key that was verified this lately is not looked up again
_TOUCH_SECONDS = 60.0
_REDIS_SECONDS = 0.5  # for which a request waits to be counted
_bearer = HTTPBearer(scheme_name="key", description="An API key of a project: aud_PREFIX_SECRET", auto_error=False)


class Keyring:
    """Keys that were verified in the last seconds, so that requests need not wait for the database.

    authenticate: whose key a text is; raises Unauthorised.
    """

    def __init__(self, authenticate: Callable[[Service, str], Caller] = access.authenticate) -> None:
        self._authenticate = authenticate
        self._known: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, service: Service, token: str) -> tuple[Caller, bool]:
        """Whose key it is, and whether it was looked up. Raises Unauthorised."""
        name, moment = hashlib.sha256(token.encode()).digest(), time.monotonic()
        verified_at, caller = self._known.get(name, (float("-inf"), None))
        if caller is not None and moment - verified_at < _FRESH_SECONDS:
            return caller, False
        self._known = {key: known for key, known in self._known.items() if moment - known[0] < _FRESH_SECONDS}
        caller = await run_in_threadpool(self._authenticate, service, token)
        self._known[name] = moment, caller
        return caller, True

    def forget(self, key_id: str) -> None:
        """A key was revoked."""
        self._known = {name: known for name, known in self._known.items() if known[1].key_id != key_id}


class RateLimit:
    """So many requests per key, counted over a sliding window; in Redis where there is one, else in this process."""

    def __init__(self, settings: Settings) -> None:
        self._item = limits.parse(settings.rate_limit)
        storage = (
            RedisStorage(f"async+{settings.redis}", implementation="redispy") if settings.redis else MemoryStorage()
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def spend(self, key_id: str, headers: dict[str, str]) -> None:
        """Count one request and describe what is left in `headers`. Raises RateLimited. A Redis that does not answer
        limits nobody."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                allowed = await self._limiter.hit(self._item, key_id)
                stats = await self._limiter.get_window_stats(self._item, key_id)
        except Exception as error:
            log.warning("rate limit not counted", error=str(error))
            return
        wait = max(0.0, stats.reset_time - time.time())
        headers["RateLimit-Policy"] = f'"key";q={self._item.amount};w={self._item.get_expiry()}'
        headers["RateLimit"] = f'"key";r={max(0, stats.remaining)};t={max(1, round(wait))}'
        if not allowed:
            raise RateLimited(f"this key may send {self._item}; wait", wait)


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(service_of)]


async def caller(
    request: Request,
    wanted: SecurityScopes,
    tasks: BackgroundTasks,
    service: ServiceDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """The caller of a request. Raises Unauthorised, Forbidden or RateLimited."""
    if credentials is None:
        raise Unauthorised("no API key came; send it as 'Authorization: Bearer KEY'")
    known, looked_up = await request.app.state.keyring.caller(service, credentials.credentials)
    await admit(request, tasks, service, known, wanted.scopes, looked_up=looked_up)
    return known


async def admit(
    request: Request,
    tasks: BackgroundTasks,
    service: Service,
    known: Caller,
    scopes: Sequence[str],
    *,
    looked_up: bool,
) -> None:
    """Count the request, see that the caller may make it, and note that the key is in use. Raises Forbidden or
    RateLimited."""
    await request.app.state.rate_limit.spend(known.key_id, request.state.headers)
    if scopes:
        known.require(*scopes)
    if looked_up and (known.used_at is None or time.time() - known.used_at > _TOUCH_SECONDS):
        tasks.add_task(access.touch, service, known.key_id)


def needs(*scopes: str) -> Any:
    """The dependency that gives a route its caller, who must hold one of these scopes."""
    return Security(caller, scopes=scopes)
