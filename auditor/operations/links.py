"""Links that let anyone who has them read one report, until they expire or are revoked.

The token in the URL is the secret: it is shown once, and only its digest is kept.
"""

import hashlib
import secrets
from collections.abc import Iterator

from sqlalchemy.orm import Session

from auditor.operations.errors import Conflict, Gone, NotFound
from auditor.operations.service import Service
from auditor.store import tables
from auditor.store.artifacts import blob_key
from auditor.store.queries import links as queries


def create(service: Service, project_id: str, audit_id: str, lifetime: float) -> tuple[tables.Link, str]:
    """A new link that works for `lifetime` seconds, and its URL.

    Raises NotFound, Conflict while the audit has no report, Gone when the report's retention has ended.
    """
    token = secrets.token_urlsafe(32)
    with service.database.transaction() as session:
        _require_report(session, project_id, audit_id)
        row = queries.add(session, audit_id, _digest(token), lifetime)
    return row, f"{service.settings.public_url}/api/v1/shared/{token}/report.json"


def listed(service: Service, project_id: str, audit_id: str) -> list[tables.Link]:
    """The audit's links that still work, oldest first, without their URLs. Raises NotFound."""
    with service.database.reading() as session:
        _found(session, project_id, audit_id)
        return queries.alive(session, audit_id)


def revoke(service: Service, project_id: str, audit_id: str, link_id: str) -> None:
    """Raises NotFound."""
    with service.database.transaction() as session:
        _found(session, project_id, audit_id)
        if not queries.remove(session, audit_id, link_id):
            raise NotFound(f"audit {audit_id} has no link {link_id}")


def shared_report(service: Service, token: str) -> Iterator[bytes]:
    """The bytes of the report that a token opens. Raises NotFound, whatever the reason is that there is none."""
    with service.database.reading() as session:
        report = queries.shared_report(session, _digest(token))
    if report is None or report.sha256 is None or report.removed_at is not None:
        raise NotFound("this link was never made, has expired or was revoked")
    return service.artifacts.stream(blob_key(report.sha256))


def _require_report(session: Session, project_id: str, audit_id: str) -> None:
    audit, report = _found(session, project_id, audit_id)
    if report is None:
        raise Conflict(f"audit {audit_id} is {audit.state} and has no report to share")
    if report.removed_at is not None:
        raise Gone(f"the report of audit {audit_id} was removed: its retention ended")


def _found(session: Session, project_id: str, audit_id: str) -> tuple[tables.Audit, tables.Artifact | None]:
    found = queries.report_of(session, project_id, audit_id)
    if found is None:
        raise NotFound(f"there is no audit {audit_id} in this project")
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
