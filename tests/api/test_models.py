"""Models and datasets over HTTP, with a worker that is played by the doorbell."""

import hashlib
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from auditor.api.app import create_app
from auditor.operations import datasets, models
from auditor.operations.errors import NotFound
from auditor.store.artifacts import blob_key
from auditor.store.tables import Blob, Dataset, Item, Version

MODEL, DATASET = "/api/v1/models", "/api/v1/datasets"


@pytest.fixture
def rung(service):
    """The service with a bell that checks what is to be checked: bytes that begin with `bad` are refused."""

    def check():
        with service.database.transaction() as session:
            for table in (Version, Dataset):
                for row in session.scalars(select(table).where(table.state == "checking")):
                    if service.artifacts.read(blob_key(row.sha256)).startswith(b"bad"):
                        row.state, row.reason = "refused", "it is bad"
                    else:
                        row.state, row.facts = "ready", {"classes": 10}

    return replace(service, ring=check)


@pytest.fixture
def app(rung):
    return create_app(rung)


def upload(client, content=b"a model", **params):
    return client.post(MODEL, params={"name": "digits"} | params, content=content)


def test_an_uploaded_model_is_checked_and_shown(client, service):
    made = upload(client, input="x", layout="NCHW")
    assert made.status_code == 201
    version = made.json()
    assert (version["model"], version["number"], version["state"]) == ("digits", 1, "ready")
    assert version["sha256"] == hashlib.sha256(b"a model").hexdigest()
    assert version["facts"] == {"classes": 10}
    assert version["filename"] == "digits.onnx"
    assert client.get(made.headers["location"]).json() == version
    assert service.artifacts.read(blob_key(version["sha256"])) == b"a model"
    with service.database.reading() as session:
        row = session.get(Version, version["id"])
        item = session.scalar(select(Item).where(Item.version_id == version["id"]))
    assert (row.input, row.output, row.layout) == ("x", None, "NCHW")
    assert (item.kind, item.state, item.priority) == ("check", "queued", 100)


def test_how_a_model_is_to_be_read_is_kept_for_its_check_and_its_audits(client, service):
    said = {"fix": ["mask=1,0", "scale=2"], "threshold": 0.0, "multilabel": True, "unbatched": True, "output": "y"}
    version = upload(client, **said).json()
    with service.database.reading() as session:
        row = session.get(Version, version["id"])
    assert models.declared(row) == said
    assert row.output == "y"
    assert models.declared(Version(input="x")) == {"input": "x"}
    wrong = upload(client, fix=["mask"])
    assert wrong.status_code == 422
    assert "mask" in wrong.json()["detail"]
    assert upload(client, threshold="much").status_code == 422


def test_a_name_of_any_script_can_be_followed(client):
    made = upload(client, name="модель 1")
    assert made.status_code == 201
    assert client.get(made.headers["location"]).json() == made.json()


def test_a_refused_model_says_why(client):
    made = upload(client, b"bad bytes")
    assert made.status_code == 201
    assert (made.json()["state"], made.json()["reason"]) == ("refused", "it is bad")


def test_without_a_worker_the_answer_is_that_it_is_being_checked(service, make_key):
    client = TestClient(
        create_app(service), base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"}
    )
    made = upload(client, wait=0.1)
    assert (made.status_code, made.json()["state"]) == (202, "checking")
    assert client.get(made.headers["location"]).json()["state"] == "checking"
    dataset = client.post(DATASET, params={"name": "d", "filename": "d.npz", "wait": 0.1}, content=b"data")
    assert (dataset.status_code, dataset.json()["state"]) == (202, "checking")


def test_the_answer_comes_when_the_check_has_ended(service, make_key):
    looks = []

    def look(name, number):
        looks.append(None)
        if len(looks) == 2:
            with service.database.transaction() as session:
                session.execute(update(Version).values(state="ready"))

    show = models.show_version

    def watched(*arguments):
        look(*arguments[2:])
        return show(*arguments)

    client = TestClient(
        create_app(service), base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "show_version", watched)
        made = upload(client, wait=30)
    assert (made.status_code, made.json()["state"]) == (201, "ready")


def test_a_model_in_pieces_is_the_same_as_one_at_once(client, service):
    announced = client.post("/api/v1/uploads", json={"filename": "x.onnx", "size": 7}).json()["id"]
    for offset, piece in ((0, b"a mo"), (4, b"del")):
        client.patch(f"/api/v1/uploads/{announced}", content=piece, headers={"Upload-Offset": str(offset)})
    in_pieces = client.post(MODEL, params={"name": "digits", "upload": announced}).json()
    at_once = upload(client).json()
    same = {"model", "sha256", "size", "filename", "state", "facts"}
    assert {key: in_pieces[key] for key in same} == {key: at_once[key] for key in same}
    assert client.post(MODEL, params={"name": "digits", "upload": announced}).status_code == 404
    assert not list(service.artifacts.list("uploads"))


def test_equal_bytes_of_two_projects_are_stored_once_and_answered_alike(client, stranger, service):
    first, second = upload(client), upload(stranger)
    drop = {"id", "created_at"}
    assert {k: v for k, v in first.json().items() if k not in drop} == {
        k: v for k, v in second.json().items() if k not in drop
    }
    assert first.status_code == second.status_code
    assert len(list(service.artifacts.list("sha256"))) == 1
    with service.database.reading() as session:
        assert len(session.scalars(select(Blob)).all()) == 1


@pytest.mark.parametrize("content", [b"", iter([])])
def test_an_empty_body_is_refused(client, content):
    assert upload(client, content).status_code == 422
    assert client.get(MODEL).json()["items"] == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_large_is_refused(rung, make_key, announced):
    app = create_app(replace(rung, settings=replace(rung.settings, max_model_bytes=1000)))
    client = TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"})
    assert upload(client, b"x" * 1000).status_code == 201
    refused = upload(client, b"x" * 1001 if announced else iter([b"x" * 600, b"x" * 401]))
    assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-large")
    assert "1000 bytes" in refused.json()["detail"]


def test_either_a_body_or_an_upload(client):
    refused = upload(client, b"body", upload="0" * 36)
    assert (refused.status_code, "not both" in refused.json()["detail"]) == (422, True)


def test_names_that_would_be_ambiguous_are_refused(client):
    assert upload(client, name="a@b").status_code == 422
    assert client.post(DATASET, params={"name": "a/b", "filename": "d.npz"}, content=b"x").status_code == 422


def test_filenames_lose_what_is_dangerous(client):
    assert upload(client, filename="../../etc/passwd.onnx").json()["filename"] == "passwd.onnx"


def test_versions_are_numbered_and_found_by_every_reference(client, service, project):
    first, second = (upload(client, content).json() for content in (b"one", b"two"))
    client.put(f"{MODEL}/digits/aliases/prod", json={"version": 1})
    model = client.get(f"{MODEL}/digits").json()
    assert (model["versions"], model["latest"]["number"], model["aliases"]) == (2, 2, {"prod": 1})
    assert client.get(f"{MODEL}/{model['id']}").json() == model
    assert client.get(f"{MODEL}/digits/versions/1").json()["aliases"] == ["prod"]
    listed = client.get(f"{MODEL}/digits/versions", params={"limit": 1}).json()
    assert ([item["number"] for item in listed["items"]], listed["next"]) == ([2], second["id"])
    rest = client.get(f"{MODEL}/digits/versions", params={"cursor": listed["next"]}).json()
    assert ([item["number"] for item in rest["items"]], rest["next"]) == ([1], None)
    wanted = {"digits": 2, "digits@1": 1, "digits@2": 2, "digits@prod": 1, first["id"]: 1}
    with service.database.reading() as session:
        for text, number in wanted.items():
            assert models.resolve_version(session, project.id, text).number == number
        for text in ("digits@3", "digits@stage", "nothing", "digits@0", "0" * 36, ""):
            with pytest.raises(NotFound):
                models.resolve_version(session, project.id, text)


def test_an_alias_moves_and_goes(client):
    upload(client, b"one")
    upload(client, b"bad two")
    upload(client, b"three")
    put = f"{MODEL}/digits/aliases/prod"
    assert client.put(put, json={"version": 1}).json()["aliases"] == {"prod": 1}
    assert client.put(put, json={"version": 3}).json()["aliases"] == {"prod": 3}
    refused = client.put(put, json={"version": 2})
    assert (refused.status_code, "it is bad" in refused.json()["detail"]) == (422, True)
    assert client.put(put, json={"version": 4}).status_code == 404
    assert client.put(f"{MODEL}/digits/aliases/3", json={"version": 1}).status_code == 422
    assert client.delete(put).status_code == 204
    assert client.delete(put).status_code == 404


def test_models_come_in_pages_and_by_part_of_a_name(client):
    for name in ("alpha", "beta", "al_pha", "gamma"):
        upload(client, name=name)
    names, cursor = [], None
    while True:
        page = client.get(MODEL, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        names += [model["name"] for model in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert names == ["gamma", "al_pha", "beta", "alpha"]
    assert [model["name"] for model in client.get(MODEL, params={"name": "l_p"}).json()["items"]] == ["al_pha"]


def test_a_deleted_version_takes_what_is_derived_and_its_number_along(client):
    upload(client, b"one")
    upload(client, b"two")
    assert client.delete(f"{MODEL}/digits/versions/2").status_code == 204
    assert client.get(f"{MODEL}/digits/versions/2").status_code == 404
    assert upload(client, b"three").json()["number"] == 3
    assert client.delete(f"{MODEL}/digits").status_code == 204
    assert client.get(f"{MODEL}/digits").status_code == 404


def test_datasets_are_found_by_id_and_the_newest_by_name(client, service, project):
    first, second = (
        client.post(DATASET, params={"name": "test set", "filename": "d.NPZ"}, content=content).json()
        for content in (b"one", b"two")
    )
    assert (first["state"], first["filename"], first["size"]) == ("ready", "d.NPZ", 3)
    assert client.get(f"{DATASET}/{first['id']}").json() == first
    assert client.get(f"{DATASET}/test set").json() == second
    assert [item["id"] for item in client.get(DATASET).json()["items"]] == [second["id"], first["id"]]
    with service.database.reading() as session:
        assert datasets.resolve(session, project.id, "test set").id == second["id"]
    assert client.delete(f"{DATASET}/{second['id']}").status_code == 204
    assert client.get(f"{DATASET}/test set").json() == first


@pytest.mark.parametrize("filename", ["d.exe", "npz", "d.npz.gz", "/"])
def test_a_form_that_is_not_read_is_refused_before_the_bytes_come(client, filename):
    refused = client.post(DATASET, params={"name": "d", "filename": filename}, content=b"x")
    assert refused.status_code == 422


def test_another_project_has_neither_models_nor_datasets_of_this_one(client, stranger):
    version = upload(client).json()
    dataset = client.post(DATASET, params={"name": "d", "filename": "d.npz"}, content=b"x").json()
    assert stranger.get(MODEL).json()["items"] == stranger.get(DATASET).json()["items"] == []
    model_id = client.get(f"{MODEL}/digits").json()["id"]
    for model in ("digits", model_id):
        assert stranger.get(f"{MODEL}/{model}").status_code == 404
        assert stranger.delete(f"{MODEL}/{model}").status_code == 404
        assert stranger.get(f"{MODEL}/{model}/versions").status_code == 404
        assert stranger.get(f"{MODEL}/{model}/versions/1").status_code == 404
        assert stranger.delete(f"{MODEL}/{model}/versions/1").status_code == 404
        assert stranger.put(f"{MODEL}/{model}/aliases/prod", json={"version": 1}).status_code == 404
    for name in ("d", dataset["id"]):
        assert stranger.get(f"{DATASET}/{name}").status_code == 404
        assert stranger.delete(f"{DATASET}/{name}").status_code == 404
    assert upload(stranger).json()["number"] == 1
    assert client.get(f"{MODEL}/digits/versions/1").json() == version
