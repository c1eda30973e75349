"""Links to reports: they open one report, without a key, until they expire or are revoked."""

import pytest
from sqlalchemy import select, update

from auditor.store.database import now
from auditor.store.tables import Artifact, Audit, Link
from tests.work import put_audit, put_blob, put_inputs

REPORT = b'{"schema_version": "1", "verdict": "passed"}\n'


@pytest.fixture
def running(service, project):
    """The id of an audit that has no report yet."""
    return put_audit(service, project, put_inputs(service, project))


@pytest.fixture
def audit(service, running):
    """The id of an audit that is done."""
    sha256 = put_blob(service, REPORT)
    with service.database.transaction() as session:
        session.execute(update(Audit).values(state="done"))
        file = {"filename": "report.json", "media_type": "application/json", "sha256": sha256, "size": len(REPORT)}
        session.add(Artifact(audit_id=running, kind="report", created_at=now(), **file))
    return running


@pytest.fixture
def make(client, audit):
    def made(**body):
        answer = client.post(f"/api/v1/audits/{audit}/links", json=body)
        assert answer.status_code == 201
        return answer.json()

    return made


@pytest.fixture
def anyone(client_of):
    """A client without a key."""
    return client_of()


def test_a_link_opens_the_report_without_a_key(make, anyone):
    opened = anyone.get(make()["url"])
    assert (opened.status_code, opened.content) == (200, REPORT)
    assert opened.headers["content-type"] == "application/json"
    assert opened.headers["cache-control"] == "no-store"
    assert opened.headers["referrer-policy"] == "no-referrer"


def test_only_the_digest_of_the_token_is_kept(make, client, audit, database):
    link = make()
    token = link["url"].split("/")[-2]
    with database.reading() as session:
        (row,) = session.scalars(select(Link))
    assert token not in repr(vars(row))
    listed = client.get(f"/api/v1/audits/{audit}/links")
    assert listed.json()["items"] == [link | {"url": None}]


def test_a_link_expires(make, anyone, client, audit, database):
    link = make(expires_in=60)
    with database.transaction() as session:
        session.execute(update(Link).values(expires_at=now()))
    assert anyone.get(link["url"]).status_code == 404
    assert client.get(f"/api/v1/audits/{audit}/links").json()["items"] == []


def test_a_revoked_link_opens_nothing_and_others_go_on(make, anyone, client, audit):
    revoked, kept = make(), make()
    assert client.delete(f"/api/v1/audits/{audit}/links/{revoked['id']}").status_code == 204
    assert client.delete(f"/api/v1/audits/{audit}/links/{revoked['id']}").status_code == 404
    assert anyone.get(revoked["url"]).status_code == 404
    assert anyone.get(kept["url"]).status_code == 200


def test_a_token_is_all_or_nothing(make, anyone):
    url = make()["url"]
    token = url.split("/")[-2]
    for wrong in (token[:-1], token + "0", token.swapcase(), "%00", "a" * 5000):
        assert anyone.get(url.replace(token, wrong)).status_code == 404


def test_a_link_opens_nothing_else(make, anyone, audit):
    token = make()["url"].split("/")[-2]
    assert anyone.get(f"/api/v1/shared/{token}").status_code == 404
    assert anyone.get(f"/api/v1/shared/{token}/adversarial.npz").status_code == 404
    stolen = {"Authorization": f"Bearer {token}"}
    assert anyone.get(f"/api/v1/audits/{audit}", headers=stolen).status_code == 401


def test_a_removed_report_is_not_there_any_more(make, anyone, client, audit, database):
    link = make()
    with database.transaction() as session:
        session.execute(update(Artifact).values(removed_at=now(), sha256=None))
    assert anyone.get(link["url"]).status_code == 404
    assert client.post(f"/api/v1/audits/{audit}/links", json={}).status_code == 410


def test_there_is_no_link_before_the_report(client, running):
    refused = client.post(f"/api/v1/audits/{running}/links", json={})
    assert refused.status_code == 409


@pytest.mark.parametrize("seconds", [0, 59, 365 * 86400 + 1])
def test_a_link_lives_from_a_minute_to_a_year(client, audit, seconds):
    assert client.post(f"/api/v1/audits/{audit}/links", json={"expires_in": seconds}).status_code == 422


def test_another_project_makes_sees_and_revokes_no_links(make, stranger, audit):
    here, link = f"/api/v1/audits/{audit}/links", make()
    assert stranger.post(here, json={}).status_code == 404
    assert stranger.get(here).status_code == 404
    assert stranger.delete(f"{here}/{link['id']}").status_code == 404


def test_a_reader_shares_nothing(client_of, make_key, audit):
    reader = client_of(make_key("reader"))
    assert reader.post(f"/api/v1/audits/{audit}/links", json={}).status_code == 403
    assert reader.get(f"/api/v1/audits/{audit}/links").status_code == 200
