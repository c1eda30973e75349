"""What time does to what is stored: uploads, artifacts and checkpoints come to their end, and garbage is collected.

Everything here may run at any moment beside the service, in several processes at once, and be killed.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from auditor.operations.deletion import remove_blob
from auditor.operations.service import Service
from auditor.store.artifacts import blob_key
from auditor.store.queries import retention as queries

_HOUR, _DAY = 3600.0, 86400.0
# Longer than any upload or write takes: what nothing refers to by then is nobody's.
GRACE = _DAY
_ASSEMBLY = _HOUR  # an upload that expires while it is put together is left alone for so long
_WORK_DAYS = 1.0  # checkpoints of a finished audit, unless the project says otherwise
_DELIVERIES = 30 * _DAY
_SPENDING = 60 * _DAY  # longer than any quota counts
_BATCH = 500


@dataclass(frozen=True)
class Collected:
    """How much of each kind was removed. stray: keys in the artifact store that no row knew."""

    uploads: int
    artifacts: int
    checkpoints: int
    blobs: int
    stray: int
    idempotency: int
    links: int
    deliveries: int
    workers: int
    spending: int

    def __str__(self) -> str:
        return "removed: " + ", ".join(f"{name} {count}" for name, count in asdict(self).items())


def collect(service: Service, *, at: float | None = None) -> Collected:
    """Remove what has expired and what nothing needs. at: the time to go by; the database's, if not given.

    An artifact whose retention is over keeps its row with `removed_at`. Blobs and stray keys go after a day.
    """
    moment = time_of(service) if at is None else at
    with service.database.transaction() as session:
        idempotency = queries.drop_idempotency(session, moment - _DAY)
        links = queries.drop_links(session, moment)
        deliveries = queries.drop_deliveries(session, moment - _DELIVERIES)
        workers = queries.drop_workers(session, moment - _DAY)
        spending = queries.drop_spending(session, moment - _SPENDING)
    return Collected(
        uploads=_expire_uploads(service, moment),
        artifacts=_expire_artifacts(service, moment),
        checkpoints=_expire_checkpoints(service, moment),
        blobs=_collect_blobs(service, moment),
        stray=_collect_strays(service, moment),
        idempotency=idempotency,
        links=links,
        deliveries=deliveries,
        workers=workers,
        spending=spending,
    )


def strays(service: Service, at: float) -> Iterator[list[str]]:
    """Keys in the artifact store that no row knows and that were written more than a day before, batch by batch."""
    for prefix, known in _PREFIXES.items():
        old = (item.key for item in service.artifacts.list(prefix) if item.modified_at.timestamp() < at - GRACE)
        while keys := list(islice(old, _BATCH)):
            kept = known(service, keys)
            yield [key for key in keys if key not in kept]


def time_of(service: Service) -> float:
    """The database's clock."""
    with service.database.reading() as session:
        return queries.time(session)


def _expire_uploads(service: Service, at: float) -> int:
    total = 0
    while True:
        with service.database.transaction() as session:
            ids = queries.expire_uploads(session, at - _ASSEMBLY, _BATCH)
        if not ids:
            return total
        for upload_id in ids:
            service.artifacts.delete([piece.key for piece in service.artifacts.list(f"uploads/{upload_id}")])
        total += len(ids)


def _expire_artifacts(service: Service, at: float) -> int:
    with service.database.transaction() as session:
        return sum(
            queries.expire_artifacts(session, project_id, kind, at - days * _DAY, at)
            for project_id, retention in queries.retentions(session)
            for kind, days in retention.items()
            if kind != "work"
        )


def _expire_checkpoints(service: Service, at: float) -> int:
    with service.database.reading() as session:
        retentions = queries.retentions(session)
    total = 0
    for project_id, retention in retentions:
        before = at - retention.get("work", _WORK_DAYS) * _DAY
        while True:
            with service.database.transaction() as session:
                keys = queries.expire_checkpoints(session, project_id, before, _BATCH)
            if not keys:
                break
            service.artifacts.delete(keys)
            total += len(keys)
    return total


def _collect_blobs(service: Service, at: float) -> int:
    total, last = 0, ""
    while True:
        with service.database.reading() as session:
            digests = queries.unreferred_blobs(session, at - GRACE, _BATCH, last)
        if not digests:
            return total
        total += sum(remove_blob(service, sha256, unused_since=at - GRACE) for sha256 in digests)
        last = digests[-1]


def _collect_strays(service: Service, at: float) -> int:
    total = service.artifacts.sweep(at - GRACE)
    for keys in strays(service, at):
        service.artifacts.delete(keys)
        total += len(keys)
    return total


def _known_keys(service: Service, keys: list[str]) -> set[str]:
    with service.database.reading() as session:
        return queries.known_keys(session, keys)


def _known_blobs(service: Service, keys: list[str]) -> set[str]:
    with service.database.reading() as session:
        return {blob_key(sha256) for sha256 in queries.known_blobs(session, [key.rpartition("/")[2] for key in keys])}


def _known_to_nobody(_service: Service, _keys: list[str]) -> set[str]:
    return set()


_PREFIXES: dict[str, Callable[[Service, list[str]], set[str]]] = {
    "incoming": _known_to_nobody,
    "health": _known_to_nobody,
    "uploads": _known_keys,
    "work": _known_keys,
    "sha256": _known_blobs,
}
