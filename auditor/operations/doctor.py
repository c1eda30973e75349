"""A look at an installation: this machine, and the service that its settings describe."""

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from auditor.errors import AuditorError
from auditor.logs import redacted
from auditor.operations import health, machine, retention
from auditor.operations.machine import Finding
from auditor.operations.service import Service, open_service
from auditor.settings import Settings
from auditor.store import migrate
from auditor.store.queries import health as queries

_SKEW = 5.0  # seconds that clocks may differ


def doctor(settings: Settings) -> list[Finding]:
    """What is well and what is not, in the order in which it should be mended. Changes nothing."""
    return [*_machine(settings), *_broker(settings), *_service(settings)]


def _machine(settings: Settings) -> Iterator[Finding]:
    yield from machine.python()
    yield from machine.packages()
    yield from machine.processor()
    yield from machine.gpu(settings.device)
    yield from machine.disk(settings.data)
    yield from machine.isolation(settings.sandbox, settings.data)


def _broker(settings: Settings) -> Iterator[Finding]:
    if not settings.redis:
        yield Finding("redis", "ok", "not configured; workers look into the database by themselves")
        return
    import redis

    try:
        with redis.Redis.from_url(settings.redis, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
            policy = client.info("memory").get("maxmemory_policy")
    except (redis.RedisError, ValueError) as error:
        yield Finding("redis", "error", redacted(str(error)), "start it, or correct AUDITOR_REDIS")
        return
    if policy == "noeviction":
        yield Finding("redis", "ok", "answers")
    else:
        yield Finding("redis", "warning", f"evicts keys ({policy})", "set maxmemory-policy noeviction")


def _service(settings: Settings) -> Iterator[Finding]:
    if (place := _sqlite(settings)) is not None:
        if kind := machine.filesystem(place):
            message = f"SQLite at {place} lies on a network file system ({kind}), where its locks do not hold"
            yield Finding("data folder", "error", message, "move AUDITOR_DATA to a local disk, or use PostgreSQL")
        if not place.exists():
            yield Finding("database", "warning", f"there is none at {place} yet", "'auditor serve' makes it")
            return
    try:
        service = open_service(settings)
    except AuditorError as error:
        yield Finding("settings", "error", str(error), "correct the environment")
        return
    try:
        yield from _parts(service)
    finally:
        service.database.close()


def _parts(service: Service) -> Iterator[Finding]:
    yield from _artifacts(service)
    try:
        health.probe_database(service)
    except migrate.WrongRevision as error:
        yield Finding("database", "error", str(error))
        return
    except SQLAlchemyError as error:
        message = redacted(str(error).splitlines()[0])
        yield Finding("database", "error", message, "start it, or correct AUDITOR_DATABASE and its rights")
        return
    yield Finding("database", "ok", f"{service.database.dialect} at revision {migrate.head()}")
    yield from _clock(service)
    yield from _workers(service)


def _artifacts(service: Service) -> Iterator[Finding]:
    place = service.settings.artifacts_url
    try:
        health.probe_artifacts(service)
    except Exception as error:  # obstore has its own for each kind of store
        message = redacted(f"{place}: {str(error).splitlines()[0]}")
        yield Finding("artifacts", "error", message, "correct AUDITOR_ARTIFACTS, its rights or the AWS_… variables")
    else:
        yield Finding("artifacts", "ok", f"{place} can be written and read")


def _clock(service: Service) -> Iterator[Finding]:
    skew = time.time() - retention.time_of(service)
    if abs(skew) > _SKEW:
        message = f"this machine's clock is {skew:+.0f} seconds from the database's"
        yield Finding("clock", "warning", message, "set both by NTP; webhook signatures and S3 depend on it")
    else:
        yield Finding("clock", "ok", f"{skew:+.2f} seconds from the database's")


def _workers(service: Service) -> Iterator[Finding]:
    with service.database.reading() as session:
        found = queries.workers(session, health.WORKER_SECONDS)
    if found:
        yield Finding("workers", "ok", ", ".join(f"{worker.owner} ({worker.device})" for worker in found))
    else:
        message = f"none has reported in the last {health.WORKER_SECONDS:.0f} seconds"
        yield Finding("workers", "warning", message, "start 'auditor serve' or 'auditor worker'")


def _sqlite(settings: Settings) -> Path | None:
    """The database's file, if it is one."""
    prefix = "sqlite:///"
    url = settings.database_url
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None
