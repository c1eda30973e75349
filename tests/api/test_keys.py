"""API keys over HTTP: roles, scopes, expiry, revocation, and what is kept of them."""

import hashlib

import pytest
from sqlalchemy import select, update

from auditor.operations import access
from auditor.store.tables import Key


def test_a_key_is_shown_once_and_only_its_digest_is_kept(client, client_of, database):
    made = client.post("/api/v1/keys", json={"name": "pipeline", "role": "submitter"})
    assert made.status_code == 201
    text = made.json()["key"]
    listed = client.get("/api/v1/keys").json()["items"]
    assert [key["key"] for key in listed] == [None, None]
    with database.reading() as session:
        row = session.get(Key, made.json()["id"])
    assert row.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert text.split("_", 2)[2] not in repr(vars(row))
    assert client_of(text).get("/api/v1/project").status_code == 200


@pytest.mark.parametrize("key", [None, "", "aud", "aud__", "aud_x_y", "Bearer", "aud_" + "0" * 12 + "_" + "x" * 43])
def test_without_a_valid_key_nothing_is_served(client_of, key):
    refused = client_of(key).get("/api/v1/project")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "/problems/unauthorised"


def test_the_right_prefix_with_another_secret_is_refused(client_of, make_key):
    key = make_key()
    assert client_of(key[:-1] + ("a" if key[-1] != "a" else "b")).get("/api/v1/project").status_code == 401


def test_a_role_may_do_what_its_scopes_say(client_of, make_key):
    reader = client_of(make_key("reader"))
    assert reader.get("/api/v1/keys").status_code == 200
    refused = reader.post("/api/v1/keys", json={"name": "more"})
    assert refused.status_code == 403
    assert "keys:write" in refused.json()["detail"]


def test_a_key_cannot_give_more_than_it_has(client_of, make_key):
    narrow = client_of(make_key("admin", scopes=["keys:read", "keys:write"]))
    refused = narrow.post("/api/v1/keys", json={"name": "more", "role": "admin"})
    assert refused.status_code == 403
    assert (
        narrow.post("/api/v1/keys", json={"name": "as much", "role": "admin", "scopes": ["keys:read"]}).status_code
        == 201
    )


def test_a_scope_that_the_role_lacks_is_refused_by_name(client):
    refused = client.post("/api/v1/keys", json={"name": "odd", "role": "reader", "scopes": ["models:write"]})
    assert refused.status_code == 422
    assert "models:write" in refused.json()["detail"]


def test_a_revoked_key_opens_nothing_at_once(client, client_of):
    made = client.post("/api/v1/keys", json={"name": "pipeline"}).json()
    used = client_of(made["key"])
    assert used.get("/api/v1/project").status_code == 200
    assert client.delete(f"/api/v1/keys/{made['id']}").status_code == 204
    assert used.get("/api/v1/project").status_code == 401
    listed = {key["id"]: key for key in client.get("/api/v1/keys").json()["items"]}
    assert listed[made["id"]]["revoked_at"] is not None


def test_an_expired_key_opens_nothing(client, client_of, database):
    made = client.post("/api/v1/keys", json={"name": "short", "expires_in": 60}).json()
    with database.transaction() as session:
        session.execute(update(Key).where(Key.id == made["id"]).values(expires_at=1.0))
    assert client_of(made["key"]).get("/api/v1/project").status_code == 401


def test_a_project_cannot_see_or_revoke_anothers_keys(client, stranger):
    own = client.post("/api/v1/keys", json={"name": "own"}).json()
    assert own["id"] not in {key["id"] for key in stranger.get("/api/v1/keys").json()["items"]}
    assert stranger.delete(f"/api/v1/keys/{own['id']}").status_code == 404


def test_keys_come_in_pages(client):
    made = [client.post("/api/v1/keys", json={"name": str(n)}).json()["id"] for n in range(4)]
    seen, cursor = [], None
    while True:
        page = client.get("/api/v1/keys", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [key["id"] for key in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == 2
    assert seen[:4] == made[::-1]
    assert len(seen) == len(set(seen)) == 5


def test_the_last_use_is_noted_but_not_each_time(service, client_of, make_key, database):
    key = make_key()
    client = client_of(key)

    def noted():
        with database.reading() as session:
            return session.scalar(select(Key.last_used_at).where(Key.prefix == access.prefix_of(key)))

    assert noted() is None
    assert client.get("/api/v1/project").status_code == 200
    first = noted()
    assert first is not None
    with database.reading() as session:
        key_id = session.scalar(select(Key.id).where(Key.prefix == access.prefix_of(key)))
    access.touch(service, key_id)
    assert noted() == first
    with database.transaction() as session:
        session.execute(update(Key).values(last_used_at=first - 61))
    access.touch(service, key_id)
    assert noted() >= first
