"""Files on their way to a service."""

import hashlib
import json

import httpx
import pytest

from auditor.client import DatasetRefused, ModelRefused, NotChecked, ServiceError
from auditor.client.calls import uploads
from auditor.errors import InputError
from tests.client.conftest import MOMENT, dataset, model, problem, refusal, version

BROKEN = httpx.WriteError("connection reset")


def test_a_model_is_sent_as_it_is_and_waited_for(client, script, tmp_path):
    (tmp_path / "digits.onnx").write_bytes(b"onnx")
    script.on("POST", "/models", httpx.Response(202, json=version("checking")))
    script.on("GET", "/models/digits/versions/1", version("checking"), version("ready"), version(aliases=["prod"]))
    script.on("PUT", "/models/digits/aliases/prod", model())
    seen = []
    made = client.upload_model(
        tmp_path / "digits.onnx", alias="prod", input="image", progress=lambda done, size: seen.append((done, size))
    )
    assert made.aliases == ["prod"]
    posted = script.sent("POST", "/models")[0]
    assert posted.content == b"onnx"
    assert dict(posted.url.params) == {"name": "digits", "input": "image", "filename": "digits.onnx"}
    assert json.loads(script.sent("PUT", "/models/digits/aliases/prod")[0].content) == {"version": 1}
    assert seen == [(4, 4)]


@pytest.mark.parametrize(("said", "sent"), [(None, None), (True, "true"), (False, "false")])
def test_an_upload_says_whether_it_may_stand_in_for_others(client, script, said, sent):
    script.on("POST", "/models", httpx.Response(201, json=version()))
    client.upload_model(b"onnx", surrogate=said)
    assert script.requests[0].url.params.get("surrogate") == sent


def test_how_a_model_is_to_be_read_is_sent_with_it(client, script):
    script.on("POST", "/models", httpx.Response(201, json=version()))
    client.upload_model(b"onnx", name="n", fix=["a=1", "b=2"], threshold=0, label=0, unbatched=True)
    sent = script.requests[0].url.params
    assert sent.multi_items() == [
        ("name", "n"), ("threshold", "0"), ("label", "0"), ("unbatched", "true"), ("fix", "a=1"), ("fix", "b=2"), ("filename", "n.onnx")
    ]  # fmt: skip


def test_a_model_is_opened_to_stand_in_for_others(client, script):
    script.on("PATCH", "/models/digits", {**model(), "surrogate": True})
    assert client.change_model("digits", surrogate=True).surrogate
    assert json.loads(script.requests[0].content) == {"surrogate": True}


def test_bytes_go_by_the_name_that_is_given(client, script):
    script.on("POST", "/models", httpx.Response(201, json=version()))
    script.on("POST", "/datasets", httpx.Response(201, json=dataset()))
    client.upload_model(b"onnx", name="mine")
    client.upload_dataset(b"a,b", name="table", filename="table.csv")
    assert [request.url.params["filename"] for request in script.requests] == ["mine.onnx", "table.csv"]


def test_what_was_refused_says_why(client, script):
    script.on("POST", "/models", httpx.Response(201, json=version("refused", reason="it has no input")))
    script.on("POST", "/datasets", httpx.Response(201, json=dataset("refused", reason="it has no labels")))
    with pytest.raises(ModelRefused, match=r"^it has no input$"):
        client.upload_model(b"onnx")
    with pytest.raises(DatasetRefused, match=r"^it has no labels$"):
        client.upload_dataset(b"npz")


def test_an_upload_that_no_worker_looks_at_is_given_up(client, script, monkeypatch):
    monkeypatch.setattr(uploads, "_CHECK_PATIENCE", -1.0)
    script.on("POST", "/models", httpx.Response(202, json=version("checking")))
    with pytest.raises(NotChecked, match="is a worker running"):
        client.upload_model(b"onnx")


def test_a_file_that_is_not_there_is_named(client, tmp_path):
    with pytest.raises(InputError, match=r"gone\.onnx cannot be read: No such file"):
        client.upload_model(tmp_path / "gone.onnx")


class Pieces:
    """The service's side of an upload in pieces. troubles: by the number of the PATCH, how much of it arrives and what
    becomes of the answer."""

    def __init__(self, script, troubles):
        self.stored, self.new, self._troubles, self._patches = b"", None, troubles, 0
        script.on("POST", "/uploads", self.begin)
        script.on("PATCH", "/uploads/u", self.append)
        script.on("GET", "/uploads/u", lambda request: httpx.Response(200, json=self.shown()))
        script.on("POST", "/models", httpx.Response(201, json=version()))

    def shown(self):
        return {"id": "u", **self.new, "received": len(self.stored), "expires_at": MOMENT}

    def begin(self, request):
        self.new = json.loads(request.content)
        return httpx.Response(201, json=self.shown())

    def append(self, request):
        self._patches += 1
        arrives, trouble = self._troubles.get(self._patches, (None, None))
        if int(request.headers["upload-offset"]) != len(self.stored):
            return httpx.Response(409, json=problem(409, "wrong offset"))
        self.stored += request.content[:arrives]
        if isinstance(trouble, Exception):
            raise trouble
        if trouble is not None:
            return refusal(trouble)
        return httpx.Response(204, headers={"Upload-Offset": str(len(self.stored))})


@pytest.mark.parametrize(
    "troubles",
    [
        {},
        {2: (3, BROKEN)},  # part of a piece arrives
        {2: (0, BROKEN), 3: (0, BROKEN)},  # nothing arrives, twice
        {2: (None, BROKEN)},  # all of it arrives and the answer is lost
        {1: (0, 503), 4: (5, 500)},
    ],
)
def test_a_large_file_goes_on_where_the_line_broke(client, script, tmp_path, monkeypatch, troubles):
    monkeypatch.setattr(uploads, "AT_ONCE", 10)
    monkeypatch.setattr(uploads, "PIECE", 8)
    content = bytes(range(41))
    (tmp_path / "large.onnx").write_bytes(content)
    pieces, seen = Pieces(script, troubles), []
    client.upload_model(tmp_path / "large.onnx", progress=lambda done, size: seen.append(done))
    assert pieces.stored == content
    assert pieces.new == {"filename": "large.onnx", "size": 41, "sha256": hashlib.sha256(content).hexdigest()}
    posted = script.sent("POST", "/models")[0]
    assert posted.url.params["upload"] == "u"
    assert posted.content == b""
    assert seen == sorted(seen)
    assert seen[-1] == 41


def test_an_upload_that_is_refused_ends(client, script, monkeypatch):
    monkeypatch.setattr(uploads, "AT_ONCE", 10)
    script.on("POST", "/uploads", refusal(429, "the quota of bytes is used up"))
    with pytest.raises(ServiceError, match="quota of bytes"):
        client.upload_dataset(b"x" * 11)
    assert len(script.requests) == 1
