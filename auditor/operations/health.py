"""Whether the service can do its work."""

import socket
from dataclasses import dataclass
from typing import Literal

from auditor.logs import log
from auditor.operations.service import Service
from auditor.store import migrate
from auditor.store.ids import new_id
from auditor.store.queries import health as queries

WORKER_SECONDS = 60.0  # a worker that has not reported for longer is not there
_PROBE = b"auditor"


@dataclass(frozen=True)
class Readiness:
    """down: requests would fail; degraded: they are answered, but nothing will be audited. parts: what each said, in
    words that anyone may read."""

    state: Literal["ok", "degraded", "down"]
    parts: dict[str, str]


def ready(service: Service) -> Readiness:
    """Try the database, its revision and the artifact store, and look for workers."""
    parts = {"database": _database(service), "artifacts": _artifacts(service)}
    if any(said != "ok" for said in parts.values()):
        return Readiness("down", parts)
    with service.database.reading() as session:
        workers = len(queries.workers(session, WORKER_SECONDS))
    parts["workers"] = "ok" if workers else f"none has reported in the last {WORKER_SECONDS:.0f} seconds"
    return Readiness("ok" if workers else "degraded", parts)


@dataclass(frozen=True)
class Seen:
    """A worker that has reported lately, without the machine that it is on. kinds: of work items that it takes."""

    device: str
    kinds: list[str]


def workers(service: Service) -> list[Seen]:
    """Those that are at work now, on whatever machines."""
    with service.database.reading() as session:
        return [Seen(worker.device, worker.kinds) for worker in queries.workers(session, WORKER_SECONDS)]


def worker_lives(service: Service, host: str) -> bool:
    """Whether a worker on this host has reported lately."""
    with service.database.reading() as session:
        return any(worker.host == host for worker in queries.workers(session, WORKER_SECONDS))


def probe_artifacts(service: Service) -> None:
    """Write, read and delete a few bytes. Raises what the artifact store raises."""
    key = f"health/{socket.gethostname()}-{new_id()}"
    service.artifacts.write(key, _PROBE)
    try:
        if service.artifacts.read(key) != _PROBE:
            raise OSError("other bytes came back than were written")
    finally:
        service.artifacts.delete([key])


def probe_database(service: Service) -> None:
    """See that tables are there and can be written. Raises WrongRevision, or what the database raises."""
    migrate.check(service.database)
    with service.database.transaction() as session:
        queries.try_to_write(session)


def _database(service: Service) -> str:
    try:
        probe_database(service)
    except migrate.WrongRevision as error:
        return str(error)
    except Exception:
        log.exception("the database does not answer")
        return "does not answer, or cannot be written"
    return "ok"


def _artifacts(service: Service) -> str:
    try:
        probe_artifacts(service)
    except Exception:
        log.exception("the artifact store does not answer")
        return "does not answer, or cannot be written"
    return "ok"
