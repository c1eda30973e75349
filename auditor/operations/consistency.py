"""Whether database and artifact store agree with each other and each with itself.

It may run beside the service: what seems wrong is looked at again, since it may have been changing.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from auditor import queue
from auditor.operations import retention
from auditor.operations.service import Service
from auditor.operations.work import items
from auditor.store.artifacts import blob_key
from auditor.store.queries import consistency as queries
from auditor.store.queries.retention import is_referred
from auditor.store.tables import Checkpoint

_BATCH = 500


@dataclass(frozen=True)
class Inconsistency:
    """Something that ought not to be. where: the blob, key, audit or item; mended: whether it was repaired."""

    where: str
    message: str
    mended: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}{' (mended)' if self.mended else ''}"


class _Look(NamedTuple):
    service: Service
    repair: bool
    deep: bool


def fsck(service: Service, *, repair: bool = False, deep: bool = False) -> list[Inconsistency]:
    """Everything that is found wrong. repair: mend what can be mended without loss. deep: read all bytes."""
    look = _Look(service, repair, deep)
    return [found for check in _CHECKS for found in check(look)]


def _blobs(look: _Look) -> Iterator[Inconsistency]:
    last = ""
    while True:
        with look.service.database.reading() as session:
            rows = queries.blobs(session, last, _BATCH)
        if not rows:
            return
        for sha256, size in rows:
            if (wrong := _wrong(look, blob_key(sha256), size, sha256)) and _is_referred(look.service, sha256):
                yield Inconsistency(
                    f"blob {sha256}", f"{wrong}; restore it from a backup, or delete what refers to it"
                )
        last = rows[-1][0]


def _checkpoints(look: _Look) -> Iterator[Inconsistency]:
    last = ("", "")
    while True:
        with look.service.database.reading() as session:
            rows = queries.checkpoints(session, last, _BATCH)
        if not rows:
            return
        for row in rows:
            if (wrong := _wrong(look, row.key, row.size, row.sha256)) and _is_current(look, row):
                yield Inconsistency(f"checkpoint {row.name} of audit {row.audit_id}", wrong, look.repair)
        last = (rows[-1].audit_id, rows[-1].name)


def _is_current(look: _Look, row: Checkpoint) -> bool:
    """Whether the checkpoint was not replaced meanwhile; mended, it is forgotten: its work is done again."""
    with look.service.database.transaction() as session:
        found = queries.lock_checkpoint(session, row)
        if found is not None and look.repair:
            session.delete(found)
    return found is not None


def _is_referred(service: Service, sha256: str) -> bool:
    with service.database.reading() as session:
        return is_referred(session, sha256)


def _wrong(look: _Look, key: str, size: int, sha256: str) -> str | None:
    """What is wrong with the bytes under a key."""
    found = look.service.artifacts.head(key)
    if found is None:
        return "its bytes are missing"
    if found.size != size:
        return f"{found.size} bytes lie there instead of {size}"
    if look.deep:
        digest = hashlib.sha256()
        for chunk in look.service.artifacts.stream(key):
            digest.update(chunk)
        if digest.hexdigest() != sha256:
            return "its bytes have another digest"
    return None


def _strays(look: _Look) -> Iterator[Inconsistency]:
    for keys in retention.strays(look.service, retention.time_of(look.service)):
        if look.repair:
            look.service.artifacts.delete(keys)
        for key in keys:
            yield Inconsistency(key, "no row knows of it", look.repair)


def _counts(look: _Look) -> Iterator[Inconsistency]:
    with look.service.database.reading() as session:
        found = queries.miscounted(session)
    for audit_id, pending, left in found:
        mended = look.repair and _recount(look.service, audit_id)
        yield Inconsistency(f"audit {audit_id}", f"waits for {pending} work items, but {left} are left", mended)


def _recount(service: Service, audit_id: str) -> bool:
    with service.database.transaction() as session:
        audit = queries.lock_running(session, audit_id)
        if audit is None:
            return False
        audit.pending = queries.attacks_left(session, audit_id)
        if audit.pending == 0 and not queries.has_item(session, audit_id, "finish"):
            items.put(session, audit, "finish")
    service.ring()
    return True


def _leases(look: _Look) -> Iterator[Inconsistency]:
    with look.service.database.reading() as session:
        found = queries.unleased(session)
    for item_id in found:
        if look.repair:
            with look.service.database.transaction() as session:
                queries.end_lease(session, item_id)
        yield Inconsistency(f"work item {item_id}", "is running without an owner or a lease", look.repair)


def _idle(look: _Look) -> Iterator[Inconsistency]:
    with look.service.database.reading() as session:
        found = queries.idle(session)
    for audit_id, state in found:
        yield Inconsistency(f"audit {audit_id}", f"is {state}, but nothing of it is queued or running; cancel it")


def _unchecked(look: _Look) -> Iterator[Inconsistency]:
    with look.service.database.reading() as session:
        found = [("version_id", *row) for row in queries.unchecked_versions(session)]
        found += [("dataset_id", *row) for row in queries.unchecked_datasets(session)]
    for column, row_id, project_id in found:
        if look.repair:
            with look.service.database.transaction() as session:
                about: dict[str, Any] = {column: row_id}
                queue.put(session, project_id=project_id, kind="check", name="check", **about)
            look.service.ring()
        where = f"{column.removesuffix('_id')} {row_id}"
        yield Inconsistency(where, "waits for a check that nobody will make", look.repair)


def _reports(look: _Look) -> Iterator[Inconsistency]:
    with look.service.database.reading() as session:
        found = queries.without_report(session)
    for audit_id in found:
        yield Inconsistency(f"audit {audit_id}", "is done, but has no report; run it again")


_CHECKS: tuple[Callable[[_Look], Iterator[Inconsistency]], ...] = (
    _blobs,
    _checkpoints,
    _strays,
    _counts,
    _leases,
    _idle,
    _unchecked,
    _reports,
)
