"""What every request passes through: problems, ids, the limit of the body, Host, and the rate."""

import socket
from dataclasses import replace

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient

from auditor.api.app import create_app
from auditor.api.problems import EXPLAINED
from auditor.errors import DatasetError, ModelError, SpecError
from auditor.operations import errors


def names_of(kind):
    yield kind.type
    for below in kind.__subclasses__():
        yield from names_of(below)


def test_every_type_of_refusal_is_explained(client):
    for name in names_of(errors.Refused):
        assert client.get(f"/problems/{name}").json()["meaning"] == EXPLAINED[name]


@pytest.mark.parametrize(
    ("method", "path", "status", "type"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/problems/nonsense", 404, "not-found"),
        ("DELETE", "/problems/not-found", 405, "method-not-allowed"),
        ("GET", "/api/v1/keys?limit=0", 422, "unacceptable"),
    ],
)
def test_errors_are_problems(client, method, path, status, type):
    answer = client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (status, status, f"/problems/{type}")


def test_a_character_that_no_database_keeps_is_no_defect(client):
    assert client.get("/api/v1/models/x%00y").status_code in (404, 422)


def test_a_wrong_field_is_pointed_at(client):
    body = client.post("/api/v1/keys", json={"name": "x", "role": "king", "crown": 1}).json()
    assert {(error["in"], error["pointer"]) for error in body["errors"]} == {("body", "/role"), ("body", "/crown")}


@pytest.mark.parametrize(
    ("error", "status", "type"),
    [
        (ModelError("no"), 422, "model-refused"),
        (DatasetError("no"), 422, "dataset-refused"),
        (SpecError("no"), 422, "spec-refused"),
        (errors.Gone("no"), 410, "gone"),
        (errors.DigestMismatch("no"), 422, "digest-mismatch"),
        (errors.QuotaExceeded("no"), 429, "quota-exceeded"),
    ],
)
def test_errors_of_operations_become_problems(app, client, error, status, type):
    @app.get("/fails")
    def fails():
        raise error

    answer = client.get("/fails")
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{type}")
    assert answer.json()["detail"] == "no"


def test_a_defect_tells_an_id_and_nothing_else(app, client):
    @app.get("/fails")
    def fails():
        raise RuntimeError("the password is swordfish")

    answer = client.get("/fails", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "mine-1"
    assert "mine-1" in answer.json()["detail"]
    assert "swordfish" not in answer.text


def test_an_odd_request_id_is_replaced(client):
    given = "x" * 65
    assert client.get("/problems/gone", headers={"X-Request-Id": given}).headers["x-request-id"] != given


@pytest.mark.parametrize("announced", [True, False])
def test_a_long_body_is_refused(service, make_key, announced):
    app = create_app(replace(service, settings=replace(service.settings, max_request_bytes=1000)))
    client = TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"})
    body = b'{"name": "' + b"x" * 2000 + b'"}'
    content = body if announced else iter([body[:500], body[500:]])
    answer = client.post("/api/v1/keys", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/too-large"


@pytest.mark.parametrize(
    ("listens", "host", "status"),
    [
        ("127.0.0.1", "localhost:8000", 200),
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "[::1]:8000", 200),
        ("127.0.0.1", "evil.example", 400),
        ("127.0.0.1", "localhost.evil.example", 400),
        ("localhost", "evil.example", 400),
        ("0.0.0.0", "audits.example", 200),
    ],
)
def test_a_service_on_loopback_answers_to_its_own_names_only(service, listens, host, status):
    app = create_app(replace(service, settings=replace(service.settings, host=listens)))
    answer = TestClient(app).get("/problems/gone", headers={"Host": host})
    assert answer.status_code == status


def test_the_name_that_users_reach_it_by_is_its_own(service):
    settings = replace(service.settings, url="https://audits.example/")
    client = TestClient(create_app(replace(service, settings=settings)))
    assert client.get("/problems/gone", headers={"Host": "audits.example"}).status_code == 200


def test_a_key_has_a_rate(service, make_key):
    app = create_app(replace(service, settings=replace(service.settings, rate_limit="3/hour")))
    first, second = (
        TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"})
        for _ in range(2)
    )
    answers = [first.get("/api/v1/project") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert answers[3].headers["ratelimit-policy"] == '"key";q=3;w=3600'
    assert 0 < int(answers[3].headers["retry-after"]) <= 3600
    assert second.get("/api/v1/project").status_code == 200


def test_without_its_redis_nobody_is_limited(service, make_key):
    settings = replace(service.settings, redis="redis://127.0.0.1:1/0", rate_limit="1/hour")
    client = TestClient(create_app(replace(service, settings=settings)), base_url="http://localhost")
    for _ in range(2):
        answer = client.get("/api/v1/project", headers={"Authorization": f"Bearer {make_key()}"})
        assert answer.status_code == 200


def test_a_redis_that_is_silent_keeps_nobody_waiting(service, make_key):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = replace(service.settings, redis=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        app, headers = create_app(replace(service, settings=settings)), {"Authorization": f"Bearer {make_key()}"}

        async def ask():
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
            with anyio.fail_after(4):
                return await client.get("/api/v1/project", headers=headers)

        assert anyio.run(ask).status_code == 200


def test_the_description_is_complete(app):
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    names = [route["operationId"] for path in document["paths"].values() for route in path.values()]
    assert len(names) == len(set(names))
    for path, routes in document["paths"].items():
        for method, route in routes.items():
            assert route.get("summary"), (method, path)
            if path.startswith("/api/v1/") and "/shared/" not in path and path != "/api/v1/docs":
                assert route["security"], (method, path)
                assert "application/problem+json" in route["responses"]["422"]["content"], (method, path)


def test_the_page_for_people_names_every_route_and_loads_nothing(app, client):
    page = client.get("/api/v1/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    for path in app.openapi()["paths"]:
        assert path in page.text
