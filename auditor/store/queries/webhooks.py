"""Webhooks and the messages to them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Delivery, Webhook


def enabled(session: Session, project_id: str) -> list[Webhook]:
    """The project's webhooks that still want messages."""
    return list(
        session.scalars(select(Webhook).where(Webhook.project_id == project_id, Webhook.disabled_at.is_(None)))
    )


def clock(session: Session) -> float:
    """Seconds since 1970, by the database."""
    return session.scalars(select(now())).one()


def add_delivery(session: Session, webhook_id: str, type: str, body: str, at: float) -> Delivery:
    delivery = Delivery(webhook_id=webhook_id, type=type, body=body, state="queued", created_at=at, not_before=at)
    session.add(delivery)
    session.flush()
    return delivery
