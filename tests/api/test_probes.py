"""What machines ask: health, readiness, version, figures; without a key, and without secrets."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from auditor import __version__
from auditor.api.app import create_app
from auditor.store import migrate


@pytest.fixture
def client(service):
    with TestClient(create_app(service), base_url="http://localhost") as client:
        yield client


def test_a_living_process_says_so(client):
    assert client.get("/healthz").json() == {"state": "ok"}
    assert client.get("/version").json() == {"version": __version__}


def test_readiness_is_a_status(client, service, monkeypatch):
    answer = client.get("/readyz")  # the tables of this test were made without a revision
    assert answer.status_code == 503
    assert answer.json()["state"] == "down"
    monkeypatch.setattr(migrate, "check", lambda database: None)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["state"] == "degraded"


def test_requests_are_counted_by_route(client):
    client.get("/healthz")
    client.get("/api/v1/models/some-model")
    client.get("/api/v1/models/other-model")
    client.get("/nowhere/at/all")
    client.request("BREW", "/nowhere")
    text = client.get("/metrics").text
    assert 'auditor_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text
    assert 'auditor_http_requests_total{method="GET",route="/api/v1/models/{model}",status="401"} 2.0' in text
    assert 'method="other"' in text
    assert "some-model" not in text
    assert "nowhere" not in text
    assert 'auditor_http_seconds_count{route="/healthz"} 1.0' in text


def test_figures_may_be_kept_for_scrapers(service):
    kept = replace(service, settings=replace(service.settings, metrics_key="S3cr3t"))
    with TestClient(create_app(kept), base_url="http://localhost") as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer no"}).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer S3cr3t"}).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_probes_are_not_part_of_the_documented_interface(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert not {"/healthz", "/readyz", "/metrics", "/version"} & set(paths)
