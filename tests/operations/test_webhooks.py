"""The outbox: messages live and die with the transaction of what they tell, and are tried again for a day."""

import dataclasses
import json
from datetime import datetime

import pytest
from sqlalchemy import select, update

from auditor import resources
from auditor.operations import webhooks
from auditor.operations.deliveries import RETRY, Answer, record, take
from auditor.operations.errors import NotFound, QuotaExceeded, Unacceptable
from auditor.store.database import now
from auditor.store.tables import Delivery, Project, Webhook

REFUSED = Answer(500, "the receiver answered 500")


@pytest.fixture
def service(service):
    """A service of a closed network."""
    return dataclasses.replace(service, settings=dataclasses.replace(service.settings, webhook_networks="any"))


@pytest.fixture
def webhook(service, project):
    new = resources.NewWebhook(url="http://127.0.0.1:9/hook", events=["audit.done", "audit.failed"])
    return webhooks.create(service, project.id, new)


def tell(service, project, type="audit.done", **data):
    with service.database.transaction() as session:
        webhooks.enqueue(session, project.id, type, data)


def rows(service, table=Delivery):
    with service.database.reading() as session:
        return list(session.scalars(select(table).order_by(table.id)))


def let_time_pass(service):
    with service.database.transaction() as session:
        session.execute(update(Delivery).values(not_before=0.0))


def taken(service):
    return take(service, 100, 60.0)


def test_a_message_is_left_for_those_who_asked_for_its_type(service, project, webhook):
    tell(service, project, "audit.cancelled", audit_id="a")
    tell(service, project, "audit.done", audit_id="b", verdict="passed")
    (row,) = rows(service)
    assert (row.webhook_id, row.type, row.state, row.attempt) == (webhook.id, "audit.done", "queued", 0)
    body = json.loads(row.body)
    assert body["type"] == "audit.done"
    assert body["data"] == {"audit_id": "b", "verdict": "passed"}
    assert datetime.fromisoformat(body["timestamp"]).timestamp() == pytest.approx(row.created_at, abs=1e-3)


def test_no_message_outlives_a_transaction_that_failed(service, project, webhook):
    def fail():
        with service.database.transaction() as session:
            webhooks.enqueue(session, project.id, "audit.done", {})
            raise RuntimeError("later in the transaction")

    with pytest.raises(RuntimeError):
        fail()
    assert rows(service) == []


def test_another_project_hears_nothing(service, webhook):
    with service.database.transaction() as session:
        other = Project(name="other", created_at=now(), retention={})
        session.add(other)
    tell(service, other)
    assert rows(service) == []
    with pytest.raises(NotFound):
        webhooks.show(service, other.id, webhook.id)
    with pytest.raises(NotFound):
        webhooks.delete(service, other.id, webhook.id)
    with pytest.raises(NotFound):
        webhooks.send_test(service, other.id, webhook.id)
    with pytest.raises(NotFound):
        webhooks.deliveries(service, other.id, webhook.id, None, 10)
    assert webhooks.listed(service, other.id) == []


def test_a_message_is_taken_once_until_its_lease_ends(service, project, webhook):
    tell(service, project)
    (first,) = taken(service)
    assert (first.attempt, first.url, first.secret) == (1, webhook.url, webhook.secret)
    assert taken(service) == []
    let_time_pass(service)
    (second,) = taken(service)
    assert (second.id, second.attempt) == (first.id, 2)


def test_what_a_slow_courier_learned_too_late_is_not_noted(service, project, webhook):
    tell(service, project)
    (late,) = taken(service)
    let_time_pass(service)
    (present,) = taken(service)
    record(service, late, Answer(410, "gone"))
    assert rows(service)[0].state == "queued"
    record(service, present, Answer(204, None))
    record(service, present, REFUSED)
    (row,) = rows(service)
    assert (row.state, row.status, row.error) == ("delivered", 204, None)
    assert row.delivered_at >= row.created_at
    assert rows(service, Webhook)[0].disabled_at is None


def test_pauses_grow_until_the_webhook_is_disabled(service, project, webhook):
    tell(service, project)
    tell(service, project)
    pauses = []
    while rows(service, Webhook)[0].disabled_at is None:
        (message, *_) = taken(service)
        record(service, message, REFUSED)
        with service.database.reading() as session:
            row, at = session.execute(select(Delivery, now()).where(Delivery.id == message.id)).one()
        pauses.append(row.not_before - at)
        let_time_pass(service)
    first, second = rows(service)
    assert pauses[:-1] == pytest.approx(RETRY, abs=5.0)
    assert (first.attempt, first.state, first.status) == (9, "failed", 500)
    assert (second.state, second.error) == ("failed", "the webhook was disabled")
    assert "9 attempts: the receiver answered 500" in rows(service, Webhook)[0].reason


def test_gone_disables_at_once_and_nothing_more_is_left(service, project, webhook):
    tell(service, project)
    (message,) = taken(service)
    record(service, message, Answer(410, "the receiver answered 410"))
    assert rows(service)[0].state == "failed"
    assert "410" in webhooks.show(service, project.id, webhook.id).reason
    tell(service, project)
    assert len(rows(service)) == 1


def test_messages_go_with_their_webhook(service, project, webhook):
    tell(service, project)
    webhooks.delete(service, project.id, webhook.id)
    assert rows(service) == []


def test_public_networks_are_asked_for_by_default(service, project):
    closed = dataclasses.replace(service, settings=dataclasses.replace(service.settings, webhook_networks="public"))
    with pytest.raises(Unacceptable, match="https://"):
        webhooks.create(closed, project.id, resources.NewWebhook(url="http://example.com/"))
    with pytest.raises(Unacceptable, match="not public"):
        webhooks.create(closed, project.id, resources.NewWebhook(url="https://169.254.169.254/latest/"))
    assert rows(service, Webhook) == []


def test_a_project_has_so_many_webhooks(service, project, monkeypatch):
    monkeypatch.setattr(webhooks, "MOST", 1)
    new = resources.NewWebhook(url="http://127.0.0.1:9/hook")
    webhooks.create(service, project.id, new)
    with pytest.raises(QuotaExceeded, match="at most 1"):
        webhooks.create(service, project.id, new)
