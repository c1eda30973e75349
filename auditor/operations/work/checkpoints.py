"""What survives a kill: an audit's checkpoints, their bytes in the artifact store and their digests in the database."""

import hashlib
import secrets

from auditor import queue
from auditor.operations.service import Service
from auditor.queue import Claim
from auditor.store.artifacts import ArtifactMissing
from auditor.store.queries import work as queries
from auditor.store.tables import Checkpoint


def write(service: Service, claim: Claim, name: str, data: bytes) -> None:
    """Keep a checkpoint in place of the one of that name; a kill leaves the old or the new one, never half."""
    key = f"work/{claim.audit_id}/{name}/{claim.attempt}-{secrets.token_hex(8)}"
    service.artifacts.write(key, data)
    made = {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    try:
        with service.database.transaction() as session:
            queue.fence(session, claim, service.settings.lease)
            old = session.get(Checkpoint, (claim.audit_id, name))
            replaced = [] if old is None else [old.key]
            session.merge(Checkpoint(audit_id=claim.audit_id, name=name, **made))
    except queue.LeaseLost:
        service.artifacts.delete([key])
        raise
    service.artifacts.delete(replaced)


def read(service: Service, claim: Claim, name: str) -> bytes | None:
    """The checkpoint of that name; one that is missing or damaged is as good as none: its work is done again."""
    with service.database.reading() as session:
        found = session.get(Checkpoint, (claim.audit_id, name))
    return None if found is None else _sound(service, found)


def inherit(service: Service, source: str, target: str, items: tuple[str, ...]) -> list[Checkpoint]:
    """Copy what one audit keeps of these work items for another one: rows that are still to be added.

    A checkpoint belongs to a work item when its name is the item's or begins with it and a hyphen.
    """
    with service.database.reading() as session:
        found = queries.checkpoints(session, source)
    copies = []
    for old in found:
        belongs = any(old.name == item or old.name.startswith(f"{item}-") for item in items)
        if belongs and (data := _sound(service, old)) is not None:
            key = f"work/{target}/{old.name}/0-{secrets.token_hex(8)}"
            service.artifacts.write(key, data)
            copies.append(Checkpoint(audit_id=target, name=old.name, key=key, sha256=old.sha256, size=old.size))
    return copies


def _sound(service: Service, row: Checkpoint) -> bytes | None:
    try:
        data = service.artifacts.read(row.key)
    except ArtifactMissing:
        return None
    return data if hashlib.sha256(data).hexdigest() == row.sha256 else None
