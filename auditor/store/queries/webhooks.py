"""Webhooks and the messages to them."""

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.tables import Delivery, Webhook


def clock(session: Session) -> float:
    """Seconds since 1970, by the database."""
    return session.scalars(select(now())).one()


def of_project(session: Session, project_id: str) -> list[Webhook]:
    """The project's webhooks, oldest first."""
    return list(session.scalars(select(Webhook).where(Webhook.project_id == project_id).order_by(Webhook.id)))


def find(session: Session, project_id: str, webhook_id: str) -> Webhook | None:
    return session.scalar(select(Webhook).where(Webhook.project_id == project_id, Webhook.id == webhook_id))


def count(session: Session, project_id: str) -> int:
    return session.scalars(select(func.count()).where(Webhook.project_id == project_id)).one()


def enabled(session: Session, project_id: str) -> list[Webhook]:
    """The project's webhooks that still want messages."""
    return list(
        session.scalars(select(Webhook).where(Webhook.project_id == project_id, Webhook.disabled_at.is_(None)))
    )


def deliveries(session: Session, webhook_id: str, before: str | None, limit: int) -> list[Delivery]:
    """Messages to a webhook, newest first. before: the id of the last one of the page before."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Delivery.id < before)
    return list(session.scalars(query))


def any_due(session: Session) -> bool:
    """Whether a message waits to be sent now."""
    return session.scalars(select(exists().where(Delivery.state == "queued", Delivery.not_before <= now()))).one()


def lock_due(session: Session, limit: int) -> list[tuple[Delivery, Webhook]]:
    """Messages whose time has come, longest due first, and where they go; they are locked, and those that another
    transaction holds are passed over."""
    query = (
        select(Delivery, Webhook)
        .join(Webhook)
        .where(Delivery.state == "queued", Delivery.not_before <= now(), Webhook.disabled_at.is_(None))
        .order_by(Delivery.not_before)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    return [(delivery, webhook) for delivery, webhook in session.execute(query)]


def lock(session: Session, delivery_id: str, attempt: int) -> tuple[Webhook, Delivery] | None:
    """A message that is in this attempt, and its webhook, which is locked first: attempts of one webhook end in turn."""
    of_delivery = select(Delivery.webhook_id).where(Delivery.id == delivery_id).scalar_subquery()
    webhook = session.scalar(select(Webhook).where(Webhook.id == of_delivery).with_for_update())
    current = select(Delivery).where(Delivery.id == delivery_id, Delivery.attempt == attempt)
    delivery = session.scalar(current.where(Delivery.state == "queued").with_for_update())
    return None if webhook is None or delivery is None else (webhook, delivery)


def fail_queued(session: Session, webhook_id: str, error: str) -> None:
    """Give up every message that still waits for the webhook."""
    waiting = update(Delivery).where(Delivery.webhook_id == webhook_id, Delivery.state == "queued")
    session.execute(waiting.values(state="failed", error=error))


def add(session: Session, row: Webhook | Delivery) -> None:
    session.add(row)
    session.flush()
