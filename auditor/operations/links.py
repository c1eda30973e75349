"""Links that let anyone who has them read one report, until they expire or are revoked.

The token in the URL is the secret: it is shown once, and only its digest is kept.
"""

import hashlib
import secrets
from collections.abc import Iterator

from auditor.operations import results
from auditor.operations.audits import find
from auditor.operations.errors import NotFound
from auditor.operations.service import Service
from auditor.store.artifacts import blob_key
from auditor.store.queries import links as queries
from auditor.store.tables import Link


def create(service: Service, project_id: str, audit_id: str, lifetime: float) -> tuple[Link, str]:
    """A new link that works for `lifetime` seconds, and its URL.

    Raises NotFound, NotDone, and Gone when the report's retention has ended.
    """
    results.file(service, project_id, audit_id, "report")
    token = secrets.token_urlsafe(32)
    with service.database.transaction() as session:
        find(session, project_id, audit_id)
        row = queries.add(session, audit_id, _digest(token), lifetime)
    return row, f"{service.settings.public_url}/api/v1/shared/{token}/report.json"


def listed(service: Service, project_id: str, audit_id: str) -> list[Link]:
    """The audit's links that still work, oldest first, without their URLs. Raises NotFound."""
    with service.database.reading() as session:
        find(session, project_id, audit_id)
        return queries.alive(session, audit_id)


def revoke(service: Service, project_id: str, audit_id: str, link_id: str) -> None:
    """Raises NotFound."""
    with service.database.transaction() as session:
        find(session, project_id, audit_id)
        if not queries.remove(session, audit_id, link_id):
            raise NotFound(f"audit {audit_id} has no link {link_id}")


def shared_report(service: Service, token: str) -> Iterator[bytes]:
    """The bytes of the report that a token opens. Raises NotFound, whatever the reason is that there is none."""
    with service.database.reading() as session:
        report = queries.shared_report(session, _digest(token))
    if report is None or report.sha256 is None or report.removed_at is not None:
        raise NotFound("this link was never made, has expired or was revoked")
    return service.artifacts.stream(blob_key(report.sha256))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
