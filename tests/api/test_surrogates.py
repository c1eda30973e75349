"""Models of a project that stand in for others of it: opened to that, named in an audit, followed by its worker."""

import pytest

from auditor import resources
from auditor.operations import create
from auditor.operations.work.tasks import StandIn, task
from auditor.queue import claim
from auditor.store.tables import Audit, Model, Surrogate, Version
from auditor.workers.loop import Worker
from tests import finished
from tests.work import WORDS, at_work, audit_of, put_inputs, report, rows

MODELS, AUDITS = "/api/v1/models", "/api/v1/audits"
ASKED = {"norm": ["Linf"], "eps": ["0.1,0.3"], "attack": ["transfer-admix"], "examples": 8}


@pytest.fixture(scope="module")
def other_path(tmp_path_factory):
    return finished.changed_model(tmp_path_factory.mktemp("other") / "other.onnx")


@pytest.fixture
def about(service, project):
    """What every request names."""
    version, dataset = put_inputs(service, project)
    return {"model": version, "data": dataset}


@pytest.fixture
def other(service, project, other_path):
    """Another version of the project, which may not stand in for others yet."""
    version, _ = put_inputs(service, project, other_path)
    (row,) = rows(service, Version, id=version)
    return row


def name_of(service, version):
    (model,) = rows(service, Model, id=version.model_id)
    return model.name


def opened(service, version):
    with service.database.transaction() as session:
        session.get_one(Model, version.model_id).surrogate = True
    return version


def test_a_model_is_opened_and_closed(client, stranger, service, other):
    path = f"{MODELS}/{name_of(service, other)}"
    assert client.get(path).json()["surrogate"] is False
    assert stranger.patch(path, json={"surrogate": True}).status_code == 404
    assert client.patch(path, json={"surrogate": "yes"}).status_code == 422
    for wanted in (True, False):
        answer = client.patch(path, json={"surrogate": wanted})
        assert (answer.status_code, answer.json()["surrogate"]) == (200, wanted)
        assert client.get(path).json() == answer.json()


def test_an_upload_opens_and_closes_a_name_and_leaves_it_where_it_says_nothing(client):
    for said, found in (({}, False), ({"surrogate": "true"}, True), ({}, True), ({"surrogate": "false"}, False)):
        made = client.post(MODELS, params={"name": "digits", "wait": 0, **said}, content=b"a model")
        assert made.status_code == 202
        assert client.get(f"{MODELS}/digits").json()["surrogate"] is found


def test_a_model_that_is_not_open_cannot_be_named(client, service, about, other):
    answer = client.post(AUDITS, json={**about, **ASKED, "surrogates": [{"model": other.id}]})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unacceptable")
    assert f"the model {name_of(service, other)} is not open to stand in for others" in answer.json()["detail"]
    assert rows(service, Audit) == []


def test_another_project_s_model_cannot_be_named(stranger, client, service, about, other):
    opened(service, other)
    answer = stranger.post(AUDITS, json={**about, **ASKED, "surrogates": [{"model": other.id}]})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"mean": "0.5"}, "half of a normalisation"),
        ({"mean": "a", "std": "1"}, "is not understood; write numbers"),
        ({"domain": "0,1"}, "body"),
    ],
)
def test_what_is_wrong_with_a_surrogate_is_said_at_once(client, service, about, other, named, message):
    opened(service, other)
    answer = client.post(AUDITS, json={**about, **ASKED, "surrogates": [{"model": other.id, **named}]})
    assert answer.status_code == 422
    assert message in answer.text
    assert rows(service, Audit) == []


def test_one_that_is_being_checked_is_asked_for_later(client, service, about, other):
    with service.database.transaction() as session:
        session.get_one(Version, opened(service, other).id).state = "checking"
    answer = client.post(AUDITS, json={**about, **ASKED, "surrogates": [{"model": other.id}]})
    assert answer.status_code == 409
    assert "the surrogate" in answer.json()["detail"]


def test_an_audit_keeps_its_surrogates_in_their_order(service, project, about, other):
    name = name_of(service, opened(service, other))
    named = [{"model": f"{name}@1", "mean": "0.5", "std": "0.25"}, {"model": name}]
    asked = resources.NewAudit(**about, **ASKED, surrogates=named)
    audit_id = create.create(service, project.id, asked)
    assert "surrogates" not in audit_of(service, audit_id).words
    with service.database.transaction() as session:
        work = claim(session, "worker", kinds=["settle"], devices=["cpu"], lease=60)
    first, second = task(service, work).surrogates
    assert first == StandIn(second.file, {"mean": "0.5", "std": "0.25"})
    assert (second.file.sha256, second.normalisation) == (other.sha256, {})


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_audit_follows_what_it_names_as_on_the_command_line(client, service, about, other, other_path, tmp_path):
    opened(service, other)
    words = WORDS | ASKED
    named = {"model": other.id, "mean": "0.1", "std": "0.9"}
    with client, at_work(Worker(service, "worker", tmp_path / "scratch")):
        made = client.post(AUDITS, json={**about, **words, "surrogates": [named]})
        assert made.status_code == 201, made.text
        audit = client.get(f"{AUDITS}/{made.json()['id']}?wait=30").json()
        while audit["state"] not in ("done", "failed"):
            audit = client.get(f"{AUDITS}/{audit['id']}?wait=30").json()
    assert (audit["state"], audit["problem"]) == ("done", None)
    words |= {"surrogate": [f"{other_path}:mean=0.1:std=0.9"]}
    assert audit["results_sha256"] == finished.run(tmp_path / "here", **words).report.results_sha256
    found = report(service, audit["id"])
    assert [(s["name"], s["sha256"]) for s in found["surrogates"]] == [("other.onnx", other.sha256)]
    assert sum(stage["broken"] for stage in found["stages"]) > 0


def test_an_extension_asks_again_whether_the_model_is_open(client, service, project, about, other, ran):
    audit_id = finished.put(service, project, tuple(about.values()), ran)
    with service.database.transaction() as session:
        session.add(Surrogate(audit_id=audit_id, position=0, version_id=other.id))
    answer = client.post(f"{AUDITS}/{audit_id}/extend", json={"examples": 48})
    assert answer.status_code == 422
    assert "not open" in answer.json()["detail"]
