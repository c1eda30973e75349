"""What is tried again, what is not, and what a refusal becomes."""

import inspect

import httpx
import pytest

from auditor import client as clients
from auditor.client import AsyncClient, Client, Unreachable, sending
from auditor.client.steps import Answer, Pause, Request
from auditor.errors import InputError, SpecError
from tests.client.conftest import MOMENT, URL, audit, problem, refusal

BROKEN = httpx.ReadError("connection reset")
REFUSED = httpx.ConnectError("connection refused")
KEY = {"id": "1", "name": "ci", "prefix": "ab", "role": "reader", "scopes": [], "created_at": MOMENT}


@pytest.mark.parametrize(
    "trouble", [BROKEN, REFUSED, refusal(502), refusal(503), refusal(429, headers={"Retry-After": "0"})]
)
def test_an_audit_is_asked_for_once_however_often_it_is_sent(client, script, trouble):
    script.on("POST", "/audits", trouble, trouble, httpx.Response(201, json=audit()))
    assert client.audit("digits", "digits@prod").state == "queued"
    keys = [request.headers["idempotency-key"] for request in script.sent("POST", "/audits")]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_audits_have_two_keys_unless_one_is_given(client, script):
    script.on("POST", "/audits", audit())
    for options in ({}, {}, {"idempotency_key": "mine"}):
        client.audit("digits", "digits", **options)
    first, second, third = (request.headers["idempotency-key"] for request in script.requests)
    assert first != second
    assert third == "mine"


def test_what_cannot_be_repeated_is_sent_again_only_when_it_did_not_arrive(client, script):
    script.on("POST", "/keys", REFUSED, httpx.Response(201, json=KEY))
    assert client.create_key("ci", role="reader").name == "ci"
    script.on("POST", "/webhooks", BROKEN)
    with pytest.raises(Unreachable, match="connection reset"):
        client.create_webhook("https://example.org")
    assert len(script.sent("POST", "/webhooks")) == 1


def test_a_service_that_stays_away_is_given_up(client, script, monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE", 0.05)
    script.on("GET", "/audits/a", REFUSED)
    with pytest.raises(Unreachable, match=r"service\.test.*does not answer.*check that the service runs"):
        client.get("a")
    assert len(script.requests) > 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "Unauthorised"), (403, "Forbidden"), (404, "NotFound"), (409, "Conflict"), (410, "Gone"),
     (413, "TooLarge"), (422, "Unacceptable"), (429, "TooMany"), (500, "ServiceError")],
)  # fmt: skip
def test_a_refusal_is_an_error_of_its_kind_with_the_sentence_of_the_service(client, script, status, kind):
    script.on("GET", "/audits/a", refusal(status, "why it was refused"))
    with pytest.raises(clients.ServiceError, match=r"^why it was refused$") as raised:
        client.get("a")
    assert type(raised.value) is getattr(clients, kind)
    assert raised.value.problem.status == status
    assert len(script.requests) == 1
    assert isinstance(raised.value, InputError) is (status in (413, 422))


def test_an_answer_that_is_no_problem_document_is_told_by_its_status(client, script):
    script.on("GET", "/audits/a", httpx.Response(301, headers={"Location": "https://elsewhere.test"}, text="moved"))
    with pytest.raises(clients.ServiceError, match=r"status 301.*https://elsewhere\.test.*check its URL"):
        client.get("a")


def test_the_pause_that_the_service_asks_for_is_kept():
    for status in (409, 429, 503):
        call = sending.send(Request("POST", "/x", repeatable=False))
        next(call)
        assert call.send(Answer(status, {"retry-after": "7"})) == Pause(7.0)


def test_pauses_grow_and_end(monkeypatch):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(sending.time, "monotonic", lambda: next(clock))
    *pauses, last = sending.pauses(8)
    assert last is None
    assert all(0.2 * 2**n * 0.5 <= pause <= 0.2 * 2**n * 1.5 for n, pause in enumerate(pauses[:5]))
    assert max(pauses) <= 12


def test_pages_are_read_to_the_last(client, script):
    pages = {None: ([audit(), audit()], "two"), "two": ([audit()], "three"), "three": ([], None)}

    def page(request):
        items, after = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": items, "next": after})

    script.on("GET", "/audits", page)
    assert len(list(client.audits(state="done"))) == 3
    assert {request.url.params["state"] for request in script.requests} == {"done"}


def test_names_are_quoted(client, script):
    client_path = "/models/" + "a/b ?é"
    script.on("DELETE", client_path, httpx.Response(204))
    client.delete_model("a/b ?é")
    assert script.requests[0].url.raw_path == b"/api/v1/models/a%2Fb%20%3F%C3%A9"


def test_the_key_and_url_come_from_the_environment_too(monkeypatch, script):
    monkeypatch.setenv("AUDITOR_URL", URL + "/")
    monkeypatch.setenv("AUDITOR_API_KEY", "aud_from_environment\n")
    script.on("GET", "/audits/a", audit())
    with Client(transport=httpx.MockTransport(script)) as client:
        client.get("a")
    assert str(script.requests[0].url) == f"{URL}/api/v1/audits/a"
    assert script.requests[0].headers["authorization"] == "Bearer aud_from_environment"


def test_a_url_without_a_scheme_is_refused():
    with pytest.raises(SpecError, match="localhost:8000 is no URL"):
        Client("localhost:8000")


def test_both_clients_have_the_same_methods_with_the_same_parameters():
    def methods(kind):
        return {name: getattr(kind, name) for name in vars(kind) if not name.startswith("_") and name != "close"}

    waiting, awaiting = methods(Client), methods(AsyncClient)
    assert waiting.keys() == awaiting.keys()
    for name, method in waiting.items():
        assert inspect.signature(method) == inspect.signature(awaiting[name])
        assert method.__doc__, name


def test_the_client_brings_nothing_heavy_along(python):
    code = """
import sys
from auditor.client import Client
print(sorted({"numpy", "onnx", "onnxruntime", "scipy", "pandas", "sqlalchemy", "fastapi"} & set(sys.modules)))
"""
    assert python(code) == "[]"


def test_problems_may_carry_more_than_is_known(client, script):
    script.on("GET", "/audits/a", httpx.Response(409, json=problem(409, "no report", bounds=[1], state="failed")))
    with pytest.raises(clients.Conflict, match="no report"):
        client.get("a")
