"""A service that answers as a test says, and both clients of it, driven the same way."""

import asyncio
import inspect
import json
from collections import defaultdict

import httpx
import pytest

from auditor.client import AsyncClient, Client, sending

URL = "http://service.test"
MOMENT = "2026-01-02T03:04:05Z"


class Script:
    """Answers by method and path: in turn, the last one for ever. An exception is raised, a function asked."""

    def __init__(self):
        self.requests = []
        self._answers = defaultdict(list)

    def on(self, method, path, *answers):
        self._answers[method, path] += answers

    def __call__(self, request):
        self.requests.append(request)
        answers = self._answers[request.method, request.url.path.removeprefix("/api/v1")]
        if not answers:
            return httpx.Response(404, json=problem(404, f"{request.method} {request.url.path} is not in the script"))
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        if isinstance(answer, dict):
            return httpx.Response(200, json=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def sent(self, method, path):
        return [r for r in self.requests if (r.method, r.url.path.removeprefix("/api/v1")) == (method, path)]


class Awaited:
    """An AsyncClient whose methods are awaited on the spot, and whose iterators are read to their end."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            return asyncio.run(finish(method(*arguments, **options)))

        return call


async def finish(started):
    return await started if inspect.isawaitable(started) else [value async for value in started]


@pytest.fixture
def script():
    return Script()


@pytest.fixture(params=["sync", "async"])
def client(request, script, monkeypatch):
    """Either client of the script, which wastes no time between two tries."""
    monkeypatch.setattr(sending.random, "uniform", lambda low, high: 0.0)
    transport = httpx.MockTransport(script)
    if request.param == "sync":
        return Client(URL, "aud_key", transport=transport)
    return Awaited(AsyncClient(URL, "aud_key", transport=transport))


def problem(status, detail, **fields):
    return {"type": "/problems/some", "title": "Some", "status": status, "detail": detail, **fields}


def refusal(status, detail="no", headers=None):
    return httpx.Response(status, json=problem(status, detail), headers=headers)


def version(state="ready", number=1, **fields):
    return {
        "id": "version-id",
        "model": "digits",
        "number": number,
        "sha256": "0" * 64,
        "size": 3,
        "filename": "digits.onnx",
        "state": state,
        "created_at": MOMENT,
        **fields,
    }


def model():
    return {
        "id": "model-id",
        "name": "digits",
        "aliases": {"prod": 1},
        "versions": 1,
        "latest": None,
        "created_at": MOMENT,
    }


def dataset(state="ready", **fields):
    kept = {name: value for name, value in version(state).items() if name not in ("model", "number")}
    return {**kept, "id": "dataset-id", "name": "digits", "filename": "digits.npz", **fields}


def audit(state="queued", **fields):
    return {
        "id": "audit-id",
        "state": state,
        "model": "digits",
        "version": 1,
        "dataset": "digits",
        "created_at": MOMENT,
        **fields,
    }


def event(number, type="audit.stage", **data):
    return {"number": number, "type": type, "data": data, "at": MOMENT}


def stream(*events, ending="\n"):
    """Events as they travel, with a sign of life after each."""
    lines = []
    for told in events:
        lines += [f"id: {told['number']}", f"event: {told['type']}", f"data: {json.dumps(told)}", "", ": alive", ""]
    return "".join(line + ending for line in lines).encode()
