"""The project over HTTP, and its quotas."""

import pytest
from sqlalchemy import select

from auditor.operations import projects
from auditor.operations.errors import QuotaExceeded
from auditor.store.database import now
from auditor.store.tables import Artifact, Audit, Blob, Dataset, Model, Project, Spending, Version


@pytest.fixture
def filled(database, project):
    """A project with 1,000 bytes of each kind and audits in three states."""
    with database.transaction() as session:
        session.add(Blob(sha256="0" * 64, size=1000, created_at=now(), used_at=now()))
        model = Model(project_id=project.id, name="m", numbers=1, created_at=now())
        stored = {"sha256": "0" * 64, "size": 1000, "filename": "f", "state": "ready", "created_at": now()}
        dataset = Dataset(project_id=project.id, name="d", **stored)
        session.add_all([model, dataset])
        session.flush()
        version = Version(model_id=model.id, number=1, **stored)
        session.add(version)
        session.flush()
        about = {"project_id": project.id, "version_id": version.id, "dataset_id": dataset.id, "words": {}}
        audits = [Audit(**about, state=state, created_at=now()) for state in ("done", "running", "queued", "done")]
        today = int(session.scalar(select(now())) // 86400)
        for days, seconds in ((0, 20.0), (30, 10.0), (31, 99.0)):
            session.add(Spending(project_id=project.id, day=today - days, seconds=seconds))
        session.add_all(audits)
        session.flush()
        for kind, removed_at in (("report", None), ("adversarial", 1.0)):
            session.add(
                Artifact(
                    audit_id=audits[0].id,
                    kind=kind,
                    filename=kind,
                    media_type="x/y",
                    sha256="0" * 64,
                    size=1000,
                    created_at=now(),
                    removed_at=removed_at,
                )
            )
    return project


def test_what_a_project_uses(filled, client, stranger):
    client.post("/api/v1/uploads", json={"filename": "more.onnx", "size": 500})
    shown = client.get("/api/v1/project").json()
    assert (shown["used_bytes"], shown["running_audits"], shown["used_seconds"]) == (3500, 2, 30.0)
    other = stranger.get("/api/v1/project").json()
    assert (other["used_bytes"], other["running_audits"], other["used_seconds"]) == (0, 0, 0.0)


def test_quotas_change_by_what_is_named(client):
    client.patch("/api/v1/project", json={"bytes": 10, "audits": 2, "retention": {"adversarial": 30}})
    changed = client.patch("/api/v1/project", json={"bytes": None}).json()
    assert changed["quotas"] == {"bytes": None, "audits": 2, "seconds": None, "retention": {"adversarial": 30}}


@pytest.mark.parametrize("quotas", [{"retention": {"everything": 1}}, {"retention": {"report": -1}}, {"bytes": -1}])
def test_quotas_that_make_no_sense_are_refused(client, quotas):
    assert client.patch("/api/v1/project", json=quotas).status_code == 422
    assert client.get("/api/v1/project").json()["quotas"]["retention"] == {}


def test_only_an_admin_changes_quotas(client_of, make_key):
    assert client_of(make_key("submitter")).patch("/api/v1/project", json={"bytes": None}).status_code == 403


def test_quotas_hold(filled, database):
    with database.transaction() as session:
        row = session.get(Project, filled.id)
        row.quota_bytes, row.quota_audits = 4000, 3
    with database.transaction() as session:
        projects.check_bytes(session, filled.id, 1000)
        projects.check_audits(session, filled.id)
        with pytest.raises(QuotaExceeded, match="3000 of the project's 4000"):
            projects.check_bytes(session, filled.id, 1001)
        session.get(Project, filled.id).quota_audits = 2
        session.flush()
        with pytest.raises(QuotaExceeded, match="2 audits"):
            projects.check_audits(session, filled.id)


def test_an_upload_beyond_the_quota_is_refused_before_it_comes(client):
    client.patch("/api/v1/project", json={"bytes": 100})
    assert client.post("/api/v1/uploads", json={"filename": "a.onnx", "size": 101}).status_code == 429
    refused = client.post("/api/v1/models", params={"name": "m"}, content=b"x" * 101)
    assert refused.json()["type"] == "/problems/quota-exceeded"


def test_a_body_of_unknown_length_ends_at_the_quota(client, service):
    client.patch("/api/v1/project", json={"bytes": 1000})
    refused = client.post("/api/v1/models", params={"name": "m"}, content=iter([b"x" * 600, b"x" * 401]))
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/quota-exceeded")
    assert not list(service.artifacts.list())
