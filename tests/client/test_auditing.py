"""Audits: asked for, followed to their end."""

import json

import httpx
import pytest

from auditor import resources
from auditor.client import Client, NotFinished
from auditor.client.calls.auditing import new_audit
from auditor.client.calls.events import _Lines
from auditor.errors import SpecError
from tests.client.conftest import audit, dataset, event, refusal, stream, version

EVENTS = [event(n, done=n) for n in range(1, 6)] + [event(6, "audit.done", verdict="passed")]


def test_options_travel_as_words(client, script):
    script.on("POST", "/audits", audit())
    client.audit(
        resources.Version.model_validate(version()),
        resources.Dataset.model_validate(dataset()),
        norm="Linf", eps=["2/255"], domain=(0, 1), mean=[0.5, 0.25], scale=2, examples=9, quantize=8, constraints={"features": {"0": {}}}, preset=None, margin=0.1,
        target=0, abstain=1, detector="reject:0.9", eot=["noise:0.05", "resize:0.9,1.1"], draws=10,
    )  # fmt: skip
    assert json.loads(script.requests[0].content) == {
        "model": "version-id",
        "data": "dataset-id",
        "norm": ["Linf"],
        "eps": ["2/255"],
        "domain": "0,1",
        "mean": "0.5,0.25",
        "scale": "2",
        "examples": 9,
        "quantize": 8,
        "constraints": {"features": {"0": {}}},
        "margin": 0.1,
        "target": 0,
        "abstain": 1,
        "detector": "reject:0.9",
        "eot": ["noise:0.05", "resize:0.9,1.1"],
        "draws": 10,
    }


def test_surrogates_are_named_as_models_are(client, script):
    script.on("POST", "/audits", httpx.Response(201, json=audit()))
    stored = resources.Version.model_validate(version())
    scaled = {"model": stored, "mean": [0.5, 0.25], "std": 2}
    client.audit("digits", "digits", surrogates=["other@prod", stored, scaled])
    assert json.loads(script.requests[0].content)["surrogates"] == [
        {"model": "other@prod"},
        {"model": "version-id"},
        {"model": "version-id", "mean": "0.5,0.25", "std": "2"},
    ]
    with pytest.raises(SpecError, match="--surrogates"):
        client.audit("digits", "digits", surrogates=[{"model": "other", "scale": 1}])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"epsilon": "1"}, "--epsilon"), ({"batch_size": 0}, "--batch-size"), ({"device": "tpu"}, "--device")],
)
def test_an_option_that_makes_no_sense_is_named_before_anything_is_sent(options, words):
    with pytest.raises(SpecError, match=words):
        new_audit({"model": "m", "data": "d", **options})


def test_waiting_is_a_long_poll_until_the_end(client, script):
    script.on("GET", "/audits/a", audit("queued"), audit("running"), httpx.ReadTimeout("silence"), audit("done"))
    assert client.wait("a").state == "done"
    assert len(script.requests) == 4
    assert all(float(request.url.params["wait"]) > 10 for request in script.requests)


def test_waiting_ends_with_its_time(client, script):
    script.on("GET", "/audits/a", audit("running", id="a", progress={"done": 2, "all": 8}))
    with pytest.raises(
        NotFinished, match=r"a is not finished: it is running, 2 of 8 stages.*auditor wait a"
    ) as raised:
        client.wait("a", timeout=0.0)
    assert raised.value.audit.state == "running"
    assert len(script.requests) == 1


def test_events_arrive_once_each_over_however_many_connections(client, script):
    def serve(request):
        assert request.headers["accept"] == "text/event-stream"
        after = int(request.headers["last-event-id"])
        rest = [told for told in EVENTS if told["number"] > after]
        return httpx.Response(200, stream=Breaking(stream(*rest), 200))

    script.on("GET", "/audits/a/events", serve)
    assert [told.number for told in client.events("a")] == [1, 2, 3, 4, 5, 6]
    assert len(script.requests) > 2
    script.requests.clear()
    assert [told.number for told in client.events("a", after=4)] == [5, 6]


def test_nothing_follows_the_last_event(client, script):
    script.on("GET", "/audits/a/events", httpx.Response(204))
    assert list(client.events("a", after=6)) == []
    assert len(script.requests) == 1


def test_a_watcher_is_told_and_the_audit_given(client, script):
    script.on(
        "GET",
        "/audits/a/events",
        httpx.Response(200, content=stream(*EVENTS[:2])),
        refusal(503),
        httpx.Response(200, content=stream(*EVENTS)),
    )
    script.on("GET", "/audits/a", audit("done"))
    seen = []
    assert client.wait("a", on_event=seen.append).state == "done"
    assert [told.number for told in seen] == [1, 2, 3, 4, 5, 6]


def test_a_watcher_waits_no_longer_than_it_was_told_to(client, script):
    script.on("GET", "/audits/a/events", httpx.ReadTimeout("silence"))
    script.on("GET", "/audits/a", audit("running"))
    with pytest.raises(NotFinished):
        client.wait("a", timeout=0.2, on_event=print)


def test_an_iterator_that_is_left_closes_its_connection(script):
    body = Breaking(stream(*EVENTS), 10_000)
    script.on("GET", "/audits/a/events", lambda request: httpx.Response(200, stream=body))
    events = Client("http://service.test", transport=httpx.MockTransport(script)).events("a")
    assert next(events).number == 1
    events.close()
    assert body.closed


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_are_read_from_pieces_of_any_size(ending, size):
    content, lines = stream(*EVENTS, ending=ending), _Lines()
    read = [told for start in range(0, len(content), size) for told in lines.feed(content[start : start + size])]
    assert [told.number for told in read] == [1, 2, 3, 4, 5, 6]
    assert read[-1].data == {"verdict": "passed"}


def test_more_of_an_audit_is_asked_for_exactly(client, script):
    script.on("POST", "/audits/a/extend", httpx.Response(201, json=audit()))
    client.extend("a", eps={"Linf": ["0.3"]}, examples=200)
    assert json.loads(script.requests[0].content) == {"eps": {"Linf": ["0.3"]}, "examples": 200}


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose connection breaks after so many bytes."""

    def __init__(self, content, length):
        self._content, self._length, self.closed = content, length, False

    def __iter__(self):
        for start in range(0, min(len(self._content), self._length), 50):
            yield self._content[start : min(start + 50, self._length)]
        if len(self._content) > self._length:
            raise httpx.RemoteProtocolError("peer closed the connection")

    async def __aiter__(self):
        for chunk in self:
            yield chunk

    def close(self):
        self.closed = True

    async def aclose(self):
        self.close()
