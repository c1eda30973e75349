"""Webhooks: where a project wants to be told that an audit has ended.

A message is a row that is written in the transaction of what it tells, and sent later by a courier: at least once, in
no promised order. Its body and its headers are those of Standard Webhooks 1.0.
"""

import base64
import json
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from auditor import resources
from auditor.operations.destinations import destination
from auditor.operations.errors import Conflict, NotFound, QuotaExceeded
from auditor.operations.service import Service
from auditor.store import tables
from auditor.store.queries import webhooks as queries

MOST = 50  # webhooks of one project


def create(service: Service, project_id: str, new: resources.NewWebhook) -> tables.Webhook:
    """A new webhook, with the secret that its messages will be signed with.

    Raises Unacceptable when the URL leads where webhooks may not go, QuotaExceeded past MOST.
    """
    destination(new.url, service.settings.webhook_networks)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with service.database.transaction() as session:
        if queries.count(session, project_id) >= MOST:
            raise QuotaExceeded(f"a project has at most {MOST} webhooks; delete one first")
        row = tables.Webhook(
            project_id=project_id,
            url=new.url,
            secret=secret,
            events=sorted(set(new.events)),
            created_at=queries.clock(session),
        )
        queries.add(session, row)
        return row


def listed(service: Service, project_id: str) -> list[tables.Webhook]:
    """The project's webhooks, oldest first."""
    with service.database.reading() as session:
        return queries.of_project(session, project_id)


def show(service: Service, project_id: str, webhook_id: str) -> tables.Webhook:
    """Raises NotFound."""
    with service.database.reading() as session:
        return _found(session, project_id, webhook_id)


def delete(service: Service, project_id: str, webhook_id: str) -> None:
    """Delete the webhook and whatever still waits for it. Raises NotFound."""
    with service.database.transaction() as session:
        session.delete(_found(session, project_id, webhook_id))


def send_test(service: Service, project_id: str, webhook_id: str) -> tables.Delivery:
    """Leave a message of the type webhook.test for one webhook. Raises NotFound, Conflict when it is disabled."""
    with service.database.transaction() as session:
        row = _found(session, project_id, webhook_id)
        if row.disabled_at is not None:
            raise Conflict(f"the webhook is disabled ({row.reason}); delete it and create it again")
        return _leave(session, row, "webhook.test", {"webhook": row.id})


def deliveries(
    service: Service, project_id: str, webhook_id: str, before: str | None, limit: int
) -> list[tables.Delivery]:
    """What was sent to a webhook, newest first. before: the id of a delivery. Raises NotFound."""
    with service.database.reading() as session:
        return queries.deliveries(session, _found(session, project_id, webhook_id).id, before, limit)


def enqueue(session: Session, project_id: str, type: str, data: dict[str, Any]) -> None:
    """Leave a message for every webhook of the project that asked for this type of event.

    It is sent if, and only if, the caller's transaction commits.
    """
    for webhook in queries.enabled(session, project_id):
        if type in webhook.events:
            _leave(session, webhook, type, data)


def _leave(session: Session, webhook: tables.Webhook, type: str, data: dict[str, Any]) -> tables.Delivery:
    at = queries.clock(session)
    message = {"type": type, "timestamp": datetime.fromtimestamp(at, UTC).isoformat(), "data": data}
    body = json.dumps(message, separators=(",", ":"))
    row = tables.Delivery(
        webhook_id=webhook.id, type=type, body=body, state="queued", attempt=0, not_before=at, created_at=at
    )
    queries.add(session, row)
    return row


def _found(session: Session, project_id: str, webhook_id: str) -> tables.Webhook:
    row = queries.find(session, project_id, webhook_id)
    if row is None:
        raise NotFound(f"there is no webhook {webhook_id} in this project")
    return row
