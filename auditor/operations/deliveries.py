"""What a courier asks of the database: which messages to send now, and what became of each."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from auditor.operations.service import Service
from auditor.store import tables
from auditor.store.queries import webhooks as queries

RETRY = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # seconds between one attempt and the next
GONE = 410  # the receiver wants no more


@dataclass(frozen=True)
class Message:
    """A message that this courier alone may send for now, and where to. attempt: counts from 1, and fences."""

    id: str
    attempt: int
    url: str
    secret: str
    body: str


@dataclass(frozen=True)
class Answer:
    """What sending gave. status: of the HTTP answer, if one came; error: None when the message was accepted."""

    status: int | None
    error: str | None


def take(service: Service, limit: int, lease: float) -> list[Message]:
    """Messages whose time has come; for `lease` seconds no other courier gets them."""
    with service.database.reading() as session:
        if not queries.any_due(session):
            return []
    with service.database.transaction() as session:
        due, at = queries.lock_due(session, limit), queries.clock(session)
        for delivery, _ in due:
            delivery.attempt += 1
            delivery.not_before = at + lease
        return [Message(row.id, row.attempt, hook.url, hook.secret, row.body) for row, hook in due]


def record(service: Service, message: Message, answer: Answer) -> None:
    """Note what became of a message: delivered, to be sent again after a pause that grows, or failed.

    A message that failed for good disables its webhook. Nothing is noted when the attempt is not the present one.
    """
    with service.database.transaction() as session:
        held = queries.lock(session, message.id, message.attempt)
        if held is None:
            return
        webhook, delivery = held
        delivery.status, delivery.error = answer.status, answer.error
        if answer.error is None:
            delivery.state, delivery.delivered_at = "delivered", queries.clock(session)
        elif answer.status == GONE:
            _disable(session, webhook, delivery, "the receiver answered 410: it wants no more messages")
        elif delivery.attempt > len(RETRY):
            reason = f"a message could not be delivered in {delivery.attempt} attempts: {answer.error}"
            _disable(session, webhook, delivery, reason)
        else:
            delivery.not_before = queries.clock(session) + RETRY[delivery.attempt - 1]


def _disable(session: Session, webhook: tables.Webhook, delivery: tables.Delivery, reason: str) -> None:
    delivery.state = "failed"
    session.flush()
    queries.fail_queued(session, webhook.id, "the webhook was disabled")
    if webhook.disabled_at is None:
        webhook.disabled_at, webhook.reason = queries.clock(session), reason
