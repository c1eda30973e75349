"""Webhooks: where a project wants to be told that an audit has ended.

A message is a row that is written in the transaction of what it tells, and delivered later by a courier: at least
once, in no promised order. Its body and its headers are those of Standard Webhooks 1.0.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from auditor.store.queries import webhooks as queries

EVENTS = ("audit.done", "audit.failed", "audit.cancelled")


def enqueue(session: Session, project_id: str, type: str, data: dict[str, Any]) -> None:
    """Leave a message for every webhook of the project that asked for this type of event.

    It is sent if, and only if, the caller's transaction commits.
    """
    wanted = [webhook for webhook in queries.enabled(session, project_id) if type in webhook.events]
    for webhook in wanted:
        _leave(session, webhook.id, type, data)


def _leave(session: Session, webhook_id: str, type: str, data: dict[str, Any]) -> Any:
    at = queries.clock(session)
    timestamp = datetime.fromtimestamp(at, UTC).isoformat()
    body = json.dumps({"type": type, "timestamp": timestamp, "data": data}, separators=(",", ":"))
    return queries.add_delivery(session, webhook_id, type, body, at)
