"""Events of an audit: streams that can be resumed, and pages."""

import threading

import pytest
from sqlalchemy import delete

from auditor import resources
from auditor.api.watch import Watch
from auditor.operations.events import tell
from auditor.store.database import now
from auditor.store.tables import Audit
from tests.work import put_inputs

JSON = {"Accept": "application/json"}


@pytest.fixture
def audit_id(service, project):
    version_id, dataset_id = put_inputs(service, project)
    about = {"project_id": project.id, "version_id": version_id, "dataset_id": dataset_id}
    with service.database.transaction() as session:
        audit = Audit(words={}, state="running", created_at=now(), **about)
        session.add(audit)
        session.flush()
        return audit.id


@pytest.fixture
def happen(service, audit_id):
    """Something happens to the audit; `done` ends it."""

    def happen(*types):
        for type in types:
            with service.database.transaction() as session:
                if type == "audit.done":
                    session.get_one(Audit, audit_id).state = "done"
                tell(session, audit_id, type, text="two\nlines")

    return happen


@pytest.fixture
def path(audit_id):
    return f"/api/v1/audits/{audit_id}/events"


def read(client, path, headers=None):
    """The events of a stream, read until the service ends it."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return parsed("".join(answer.iter_text()))


def parsed(text):
    events = []
    for block in text.strip().split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
        if fields:
            event = resources.Event.model_validate_json(dict(fields)["data"])
            assert (dict(fields)["id"], dict(fields)["event"]) == (str(event.number), event.type)
            events.append(event)
    return events


def test_a_stream_tells_everything_and_ends_with_the_last_event(client, path, happen):
    happen("audit.settled", "audit.running", "audit.stage", "audit.done")
    events = read(client, path)
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.type for event in events] == ["audit.settled", "audit.running", "audit.stage", "audit.done"]
    assert events[0].data == {"text": "two\nlines"}


def test_a_stream_goes_on_where_its_reader_was(client, path, happen):
    happen("audit.settled", "audit.running", "audit.done")
    assert [event.number for event in read(client, path, {"Last-Event-ID": "1"})] == [2, 3]
    assert [event.number for event in read(client, f"{path}?after=2", {"Last-Event-ID": "0"})] == [3]
    assert client.get(f"{path}?after=3").status_code == 204


def test_two_readers_are_told_the_same_while_it_happens(client, path, happen):
    happen("audit.settled")
    told = {}
    with client:
        readers = [threading.Thread(target=lambda n=n: told.update({n: read(client, path)})) for n in range(2)]
        for reader in readers:
            reader.start()
        happen("audit.running", *["audit.stage"] * 20, "audit.done")
        for reader in readers:
            reader.join(timeout=30)
    assert [event.number for event in told[0]] == list(range(1, 24))
    assert told[0] == told[1]


def test_an_idle_stream_shows_that_it_lives(client, path, happen, monkeypatch):
    monkeypatch.setattr("auditor.api.events._HEARTBEAT_SECONDS", 0.05)
    happen("audit.settled")
    ask, ended = Watch.changed, threading.Timer(0, happen, ["audit.done"])

    async def changed(self, *asked):
        answer = await ask(self, *asked)
        if not answer and not ended.is_alive() and not ended.finished.is_set():
            ended.start()  # nothing had happened: the reader is about to be told that much
        return answer

    monkeypatch.setattr(Watch, "changed", changed)
    with client, client.stream("GET", path) as answer:
        text = "".join(answer.iter_text())
    assert ": ping" in text
    assert [event.number for event in parsed(text)] == [1, 2]


def test_a_stream_ends_when_its_audit_is_deleted(client, path, happen, service, monkeypatch):
    happen("audit.settled")

    async def changed(self, *asked):
        with service.database.transaction() as session:
            session.execute(delete(Audit))
        return True

    monkeypatch.setattr(Watch, "changed", changed)
    assert [event.number for event in read(client, path)] == [1]


def test_long_histories_are_streamed_whole(client, path, happen, monkeypatch):
    monkeypatch.setattr("auditor.api.events._PAGE", 3)
    happen(*["audit.stage"] * 10, "audit.done")
    assert [event.number for event in read(client, path)] == list(range(1, 12))


def test_pages_of_events(client, path, happen):
    happen("audit.settled", "audit.running", "audit.stage")
    page = client.get(f"{path}?limit=2", headers=JSON).json()
    assert ([event["number"] for event in page["items"]], page["next"]) == ([1, 2], "2")
    page = client.get(f"{path}?limit=2&after={page['next']}", headers=JSON).json()
    assert ([event["type"] for event in page["items"]], page["next"]) == (["audit.stage"], None)
    assert client.get(f"{path}?after=x", headers=JSON).status_code == 422


def test_numbers_have_no_gaps_where_many_tell_at_once(client, path, happen):
    threads = [threading.Thread(target=happen, args=["audit.stage"] * 5) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [event["number"] for event in client.get(path, headers=JSON).json()["items"]]
    assert numbers == list(range(1, 21))
