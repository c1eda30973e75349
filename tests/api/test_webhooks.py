"""Webhooks over HTTP: made, tested, listed and deleted."""

import dataclasses

import pytest
from sqlalchemy import update

from auditor.store.database import now
from auditor.store.tables import Webhook


@pytest.fixture
def service(service):
    """A service of a closed network."""
    return dataclasses.replace(service, settings=dataclasses.replace(service.settings, webhook_networks="any"))


@pytest.fixture
def made(client):
    answer = client.post("/api/v1/webhooks", json={"url": "http://127.0.0.1:9/hook"})
    assert answer.status_code == 201
    return answer


def test_the_secret_is_shown_once(client, made):
    hook = made.json()
    assert hook["secret"].startswith("whsec_")
    assert made.headers["cache-control"] == "no-store"
    shown = client.get(made.headers["location"])
    assert shown.json() == hook | {"secret": None}
    listed = client.get("/api/v1/webhooks")
    assert listed.json()["items"] == [shown.json()]
    assert hook["secret"] not in listed.text + shown.text
    assert hook["events"] == ["audit.cancelled", "audit.done", "audit.failed"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"url": "gopher://x/"}, "http://"),
        ({"url": "http://user:secret@127.0.0.1/"}, "user and password"),
        ({"url": "http://127.0.0.1/", "events": ["audit.begun"]}, "audit.done"),
        ({"url": "http://127.0.0.1/", "events": []}, "events"),
        ({"url": "http://127.0.0.1/", "secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_makes_no_webhook_is_refused(client, body, what):
    refused = client.post("/api/v1/webhooks", json=body)
    assert refused.status_code == 422
    assert what in refused.json()["detail"]
    assert client.get("/api/v1/webhooks").json()["items"] == []


def test_a_test_message_is_among_the_deliveries(client, made):
    here = made.headers["location"]
    sent = client.post(f"{here}/test")
    assert sent.status_code == 202
    assert (sent.json()["type"], sent.json()["state"]) == ("webhook.test", "queued")
    assert client.get(f"{here}/deliveries").json() == {"items": [sent.json()], "next": None}


def test_deliveries_come_in_pages_newest_first(client, made):
    here = made.headers["location"]
    sent = [client.post(f"{here}/test").json()["id"] for _ in range(5)]
    seen, cursor = [], None
    while cursor is not None or not seen:
        page = client.get(f"{here}/deliveries", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == sorted(sent, reverse=True)


def test_a_disabled_webhook_says_why_and_takes_no_test(client, made, database):
    with database.transaction() as session:
        session.execute(update(Webhook).values(disabled_at=now(), reason="the receiver answered 410"))
    assert client.get(made.headers["location"]).json()["reason"] == "the receiver answered 410"
    refused = client.post(f"{made.headers['location']}/test")
    assert refused.status_code == 409
    assert "answered 410" in refused.json()["detail"]


def test_a_deleted_webhook_is_gone(client, made):
    assert client.delete(made.headers["location"]).status_code == 204
    assert client.get(made.headers["location"]).status_code == 404
    assert client.delete(made.headers["location"]).status_code == 404


def test_only_an_admin_makes_them_and_only_for_its_own_project(client_of, make_key, stranger, made):
    submitter = client_of(make_key("submitter"))
    assert submitter.post("/api/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).status_code == 403
    assert submitter.get(made.headers["location"]).status_code == 200
    for answer in (
        stranger.get(made.headers["location"]),
        stranger.delete(made.headers["location"]),
        stranger.post(f"{made.headers['location']}/test"),
        stranger.get(f"{made.headers['location']}/deliveries"),
    ):
        assert answer.status_code == 404
    assert stranger.get("/api/v1/webhooks").json()["items"] == []
