"""What happens to an audit, told in the transaction in which it happens: to streams of events and to webhooks."""

from typing import Any

from sqlalchemy.orm import Session

from auditor.operations import webhooks
from auditor.store.queries import audits as queries

FINAL = ("audit.done", "audit.failed", "audit.cancelled")


def tell(session: Session, audit_id: str, type: str, **data: Any) -> None:
    """Append an event to the audit, under its next number, and leave a final one for the project's webhooks.

    The audit's row is locked until the transaction ends, so that numbers become visible in their order, without gaps.
    """
    project_id = queries.add_event(session, audit_id, type, data)
    if type in FINAL:
        webhooks.enqueue(session, project_id, type, {"audit_id": audit_id, **data})
