"""Which workers there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.operations.service import Service
from auditor.store.database import now
from auditor.store.queries import work as queries
from auditor.store.tables import Worker


@dataclass(frozen=True)
class Started:
    """A worker process. owner: its name in claims; device: cpu or cuda."""

    owner: str
    host: str
    pid: int
    device: str
    kinds: tuple[str, ...]


def report(service: Service, worker: Started, gpu: tuple[int, int] | None) -> None:
    """The worker lives. gpu: bytes in use and bytes in all of its GPU."""
    with service.database.transaction() as session:
        if not queries.see_worker(session, worker.owner, gpu):
            used, total = gpu or (None, None)
            session.add(
                Worker(
                    owner=worker.owner,
                    host=worker.host,
                    pid=worker.pid,
                    device=worker.device,
                    kinds=list(worker.kinds),
                    started_at=now(),
                    seen_at=now(),
                    gpu_used=used,
                    gpu_total=total,
                )
            )


def leave(service: Service, owner: str) -> None:
    """The worker ends in good order."""
    with service.database.transaction() as session:
        queries.forget_worker(session, owner)


def holders(service: Service, prefix: str) -> list[str]:
    """Workers that hold work items, out of those whose names begin with `prefix`."""
    with service.database.reading() as session:
        return list(queries.owners(session, prefix))


def waits(service: Service, kinds: Sequence[str], devices: Sequence[str]) -> bool:
    """Whether there is work for a worker of these kinds and devices."""
    with service.database.reading() as session:
        return queries.waits(session, kinds, devices)
