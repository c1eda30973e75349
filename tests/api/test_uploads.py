"""Files in pieces over HTTP."""

import hashlib
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from auditor.api.app import create_app
from auditor.operations import uploads
from auditor.operations.errors import Conflict, WrongOffset
from auditor.store.artifacts import blob_key
from auditor.store.tables import Upload

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("auditor.api.uploads.PIECE", 1000)


def announce(client, content=CONTENT, **more):
    made = client.post("/api/v1/uploads", json={"filename": "m.onnx", "size": len(content)} | more)
    assert made.status_code == 201, made.text
    assert made.headers["upload-offset"] == "0"
    assert client.get(made.headers["location"]).json() == made.json()
    return made.json()["id"]


def send(client, upload, content, offset):
    return client.patch(f"/api/v1/uploads/{upload}", content=content, headers={"Upload-Offset": str(offset)})


def test_a_file_goes_in_parts_and_comes_out_whole(client, service, project):
    upload = announce(client)
    first = send(client, upload, CONTENT[:3500], 0)
    assert (first.status_code, first.headers["upload-offset"]) == (204, "3500")
    head = client.head(f"/api/v1/uploads/{upload}")
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("3500", str(len(CONTENT)))
    assert send(client, upload, CONTENT[3500:], 3500).headers["upload-offset"] == str(len(CONTENT))
    sha256, size = uploads.assemble(service, project.id, upload, limit=1 << 20)
    assert (sha256, size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert service.artifacts.read(blob_key(sha256)) == CONTENT


def test_a_wrong_offset_is_answered_with_the_right_one(client):
    upload = announce(client)
    send(client, upload, CONTENT[:1500], 0)
    for offset in (0, 1499, 1501):
        wrong = send(client, upload, b"x", offset)
        assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "1500")
    assert client.get(f"/api/v1/uploads/{upload}").json()["received"] == 1500


def break_off(app, method, path, headers, chunks):
    """Send a request whose connection breaks after these chunks, and give the status of the unheard answer."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"})
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    answers = []

    async def receive():
        return messages.pop(0)

    async def answer(message):
        answers.append(message)

    anyio.run(app, scope, receive, answer)
    return answers[0]["status"]


def test_a_broken_connection_keeps_what_came(app, client, service, project):
    upload = announce(client)
    headers = dict(client.headers) | {"host": "localhost", "upload-offset": "0"}
    status = break_off(app, "PATCH", f"/api/v1/uploads/{upload}", headers, [CONTENT[:1800], CONTENT[1800:2300]])
    assert status == 400
    assert client.head(f"/api/v1/uploads/{upload}").headers["upload-offset"] == "2300"
    send(client, upload, CONTENT[2300:], 2300)
    sha256, _ = uploads.assemble(service, project.id, upload, limit=1 << 20)
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_model_whose_connection_breaks_leaves_nothing(app, client, service):
    headers = dict(client.headers) | {"host": "localhost"}
    assert break_off(app, "POST", "/api/v1/models?name=m", headers, [CONTENT]) == 400
    assert client.get("/api/v1/models").json()["items"] == []
    assert not list(service.artifacts.list("incoming"))
    assert not list(service.artifacts.list("sha256"))


def test_slow_senders_hold_no_threads(app, client):
    async def scene():
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        begun, may_end = anyio.Semaphore(0), anyio.Event()

        async def body():
            yield CONTENT
            begun.release()
            await may_end.wait()
            yield CONTENT

        reached = {"transport": httpx.ASGITransport(app), "base_url": "http://localhost", "headers": client.headers}
        async with httpx.AsyncClient(**reached) as sender, anyio.create_task_group() as group:
            for number in range(3):
                send = partial(sender.post, f"/api/v1/models?name=slow-{number}&wait=0", content=body())
                group.start_soon(send)
                await begun.acquire()
            with anyio.move_on_after(20):
                answered = await sender.get("/api/v1/project")
            may_end.set()
        return answered.status_code

    assert anyio.run(scene) == 200
    assert len(client.get("/api/v1/models").json()["items"]) == 3


def test_of_two_who_write_at_one_offset_one_is_kept(client, service, project, monkeypatch):
    upload = announce(client, b"aabb")
    write = service.artifacts.write

    def write_after_another(key, data):
        monkeypatch.setattr(type(service.artifacts), "write", lambda self, key, data: write(key, data))
        uploads.append(service, project.id, upload, 0, b"aa")
        write(key, data)

    monkeypatch.setattr(type(service.artifacts), "write", lambda self, key, data: write_after_another(key, data))
    with pytest.raises(WrongOffset):
        uploads.append(service, project.id, upload, 0, b"XXX")
    uploads.append(service, project.id, upload, 2, b"bb")
    sha256, _ = uploads.assemble(service, project.id, upload, limit=100)
    assert service.artifacts.read(blob_key(sha256)) == b"aabb"
    assert len(list(service.artifacts.list(f"uploads/{upload}"))) == 2


def test_more_than_announced_is_refused(client):
    upload = announce(client, b"four")
    assert send(client, upload, b"fives", 0).status_code == 413
    assert send(client, upload, b"four", 0).status_code == 204


def test_a_file_that_is_not_whole_cannot_be_used(client, service, project):
    upload = announce(client)
    send(client, upload, CONTENT[:10], 0)
    with pytest.raises(Conflict, match="still to come"):
        uploads.assemble(service, project.id, upload, limit=1 << 20)


def test_other_bytes_than_declared_are_refused_and_removed(client, service):
    upload = announce(client, sha256="0" * 64)
    send(client, upload, CONTENT, 0)
    refused = client.post("/api/v1/models", params={"name": "m", "upload": upload})
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/digest-mismatch")
    assert client.get(f"/api/v1/uploads/{upload}").status_code == 404
    assert not list(service.artifacts.list("uploads"))


def test_a_cancelled_upload_is_gone(client, service):
    upload = announce(client)
    send(client, upload, CONTENT[:1500], 0)
    assert client.delete(f"/api/v1/uploads/{upload}").status_code == 204
    assert client.delete(f"/api/v1/uploads/{upload}").status_code == 404
    assert send(client, upload, b"x", 1500).status_code == 404
    assert not list(service.artifacts.list("uploads"))


def test_an_upload_expires(client, database):
    upload = announce(client)
    with database.transaction() as session:
        session.execute(update(Upload).values(expires_at=1.0))
    assert client.head(f"/api/v1/uploads/{upload}").status_code == 404


def test_another_project_has_no_part_in_it(client, stranger):
    upload = announce(client)
    assert stranger.get(f"/api/v1/uploads/{upload}").status_code == 404
    assert send(stranger, upload, b"x", 0).status_code == 404
    assert stranger.delete(f"/api/v1/uploads/{upload}").status_code == 404
    assert stranger.post("/api/v1/models", params={"name": "m", "upload": upload}).status_code == 404


def test_a_key_for_either_kind_may_upload_and_a_reader_may_not(client_of, make_key):
    body = {"filename": "a.npz", "size": 1}
    for scope in ("models:write", "datasets:write"):
        assert client_of(make_key("submitter", scopes=[scope])).post("/api/v1/uploads", json=body).status_code == 201
    assert client_of(make_key("reader")).post("/api/v1/uploads", json=body).status_code == 403


def test_a_file_larger_than_anything_accepted_is_refused_at_once(service, make_key):
    settings = replace(service.settings, max_model_bytes=10, max_dataset_bytes=20)
    app = create_app(replace(service, settings=settings))
    client = TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {make_key()}"})
    assert client.post("/api/v1/uploads", json={"filename": "a", "size": 21}).status_code == 413
    upload = announce(client, b"x" * 20)
    send(client, upload, b"x" * 20, 0)
    assert client.post("/api/v1/models", params={"name": "m", "upload": upload}).status_code == 413
