"""Two projects cannot reach each other's anything: every route of the OpenAPI document is walked with a foreign key.

A new route is walked as soon as it exists; one with a parameter or a body that is not known here fails the walk, until
it is told what to send.
"""

import re
from dataclasses import dataclass

import pytest

from auditor.api.app import create_app
from auditor.operations.service import Service
from auditor.settings import Settings
from auditor.store.artifacts import Artifacts
from tests.api.filled import client_with, fill, of_closed_network
from tests.service import empty_database, with_tables

PUBLIC = {
    ("GET", "/problems/{name}"),
    ("GET", "/api/v1/docs"),
    ("GET", "/api/v1/shared/{token}/report.json"),
}
UNDOCUMENTED = ("/healthz", "/readyz", "/version", "/metrics", "/api/v1/openapi.json")
# Of routes whose path names nothing that belongs to anybody, those whose query or body names the first project's.
NAMING = {
    ("POST", "/api/v1/audits"),
    ("POST", "/api/v1/models"),
    ("POST", "/api/v1/datasets"),
    ("GET", "/api/v1/compare"),
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    operation: dict

    def __str__(self):
        return f"{self.method} {self.path}"

    @property
    def is_public(self):
        return (self.method, self.path) in PUBLIC

    @property
    def reads(self):
        return self.method in ("GET", "HEAD")

    def send(self, client, names):
        """The request about the named things; of an event stream, what is there now."""
        path = self.path.format(**{name: value(names, self, name) for name in self._parameters("path")})
        query = {name: value(names, self, name) for name in self._parameters("query") if name in QUERY}
        headers = {name: HEADERS[name] for name in self._parameters("header", required=True)}
        return client.request(self.method, path, params=query, headers=headers, **self._body(names))

    def _parameters(self, place, required=False):
        found = [each for each in self.operation.get("parameters", []) if each["in"] == place]
        return [each["name"] for each in found if each.get("required") or not required]

    def _body(self, names):
        content = self.operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            return {"json": BODIES[content["application/json"]["schema"]["$ref"].rpartition("/")[2]](names)}
        return {}


QUERY = {"name", "filename", "model", "dataset", "upload", "wait", "audits"}
HEADERS = {"upload-offset": "0"}
BODIES = {
    "NewUpload": lambda names: {"filename": "mine.onnx", "size": 1},
    "ModelChange": lambda names: {"surrogate": True},
    "NewAlias": lambda names: {"version": 1},
    "NewAudit": lambda names: {"model": names["model"], "data": names["dataset"]},
    "Extension": lambda names: {"examples": 16},
    "NewLink": lambda names: {},
    "NewWebhook": lambda names: {"url": "http://127.0.0.1:9/mine"},
    "NewKey": lambda names: {"name": "mine"},
    "Quotas": lambda names: {},
}


def value(names, route, name):
    """What a parameter of a route is set to."""
    fixed = {"wait": "0", "filename": "mine.npz", "kind": "report", "token": "x" * 43}
    if name == "audits":
        return [names["audit_id"], names["other"]]
    if name == "name":
        return "not-found" if route.is_public else names["model"]
    return fixed[name] if name in fixed else names["upload_id" if name == "upload" else name]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(request, tmp_path_factory):
    """An application on a database with two filled projects."""
    folder = tmp_path_factory.mktemp("isolation")
    with empty_database(request.param, folder) as url, with_tables(url) as database:
        settings = Settings(data=folder)
        service = Service(database, Artifacts.open(settings.artifacts_url), settings, lambda: None)
        yield create_app(of_closed_network(service))


@pytest.fixture(scope="module")
def mine(app, tmp_path_factory):
    return fill(app, "kestrel", tmp_path_factory.mktemp("kestrel"))


@pytest.fixture(scope="module")
def theirs(app, tmp_path_factory):
    return fill(app, "lapwing", tmp_path_factory.mktemp("lapwing"))


@pytest.fixture(scope="module")
def routes(app):
    """Every route, deletions last."""
    found = [
        Route(method.upper(), path, operation)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    return sorted(found, key=lambda route: route.method == "DELETE")


def snapshot(app, routes, owner):
    """What the owner of a project sees, by route: everything must be there."""
    client = client_with(app, owner.key)
    seen = {}
    for route in routes:
        if route.reads and not route.is_public:
            answer = route.send(client, owner.names)
            assert answer.is_success, f"{route}: {answer.status_code} {answer.text}"
            seen[str(route)] = re.sub(rb'"last_used_at":"[^"]*"', b"", answer.content)  # of the key that looks
    return seen


def test_no_route_gives_or_changes_anything_of_another_project(app, routes, mine, theirs):
    before = snapshot(app, routes, theirs)
    intruder = client_with(app, mine.key)
    for route in routes:
        answer = route.send(intruder, theirs.names)
        assert answer.status_code < 500, f"{route}: {answer.text}"
        leaked = [word for word in theirs.private if word in told(answer)]
        assert not leaked, f"{route} shows {leaked}: {answer.text[:500]}"
        if not route.is_public and ("{" in route.path or (route.method, route.path) in NAMING):
            assert answer.status_code == 404, f"{route}: {answer.status_code} {answer.text[:500]}"
    assert snapshot(app, routes, theirs) == before


def told(answer):
    """The answer's text and headers; of a refusal nothing, for it may repeat the words of the request."""
    return "" if answer.status_code in (401, 404) else answer.text + repr(dict(answer.headers))


def test_a_refusal_tells_as_much_of_what_is_elsewhere_as_of_what_is_nowhere(app, routes, mine, theirs):
    intruder = client_with(app, mine.key)
    nowhere = {name: text if len(text) <= 4 else "a" * len(text) for name, text in theirs.names.items()}
    for route in routes:
        if "{" in route.path and not route.is_public:
            elsewhere, missing = route.send(intruder, theirs.names), route.send(intruder, nowhere)
            assert (elsewhere.status_code, missing.status_code) == (404, 404), f"{route}: {missing.text}"
            assert plain(elsewhere, theirs.names) == plain(missing, nowhere), str(route)


def plain(answer, names):
    """A refusal's sentence without the names that the request gave."""
    text = answer.json()["detail"] if answer.content else ""
    for name in sorted(names.values(), key=len, reverse=True):
        text = text.replace(name, "…")
    return text


def test_a_reader_reads_everything_and_writes_nothing(app, routes, theirs):
    before = snapshot(app, routes, theirs)
    reader = client_with(app, theirs.reader)
    for route in routes:
        if route.is_public:
            continue
        answer = route.send(reader, theirs.names)
        of_uploads = route.path.startswith("/api/v1/uploads")  # only who may upload has any business with them
        expected = 200 if route.reads and not of_uploads else 403
        assert answer.status_code == expected, f"{route}: {answer.status_code} {answer.text[:500]}"
    assert snapshot(app, routes, theirs) == before


@pytest.mark.parametrize("key", [None, "aud_000000000000_" + "0" * 43])
def test_without_a_key_there_is_nothing(app, routes, theirs, key):
    nobody = client_with(app, key)
    for route in routes:
        answer = route.send(nobody, theirs.names)
        if not route.is_public:
            assert answer.status_code == 401, f"{route}: {answer.status_code}"
        assert not any(word in told(answer) for word in theirs.private), f"{route}: {answer.text[:500]}"


@pytest.mark.parametrize("path", UNDOCUMENTED)
def test_what_probes_are_told_names_nothing_of_any_project(app, mine, theirs, path):
    answer = client_with(app).get(path)
    assert answer.status_code in (200, 503)  # these tables were not made by migrations
    assert not any(word in told(answer) for word in (*mine.private, *theirs.private))


def test_things_of_two_projects_do_not_mix(app, mine, theirs):
    intruder = client_with(app, mine.key)
    own, other = mine.names, theirs.names

    def asked(path, body):
        return intruder.post(f"/api/v1{path}", json=body)

    refused = [
        asked("/audits", {"model": own["model"], "data": other["dataset"]}),
        asked("/audits", {"model": other["model"], "data": own["dataset"]}),
        asked("/audits", {"model": f"{other['model']}@{other['alias']}", "data": own["dataset"]}),
        intruder.get(f"/api/v1/audits/{own['audit_id']}/compare/{other['audit_id']}"),
        intruder.get(f"/api/v1/audits/{other['audit_id']}/compare/{own['audit_id']}"),
        intruder.get(f"/api/v1/models/{own['model']}/aliases/{other['alias']}"),
        intruder.delete(f"/api/v1/audits/{own['audit_id']}/links/{other['link_id']}"),
    ]
    assert [answer.status_code for answer in refused[:-2]] == [404] * 5
    assert [answer.status_code for answer in refused[-2:]] == [405, 404]
    baselines = [
        asked("/audits", {"model": own["model"], "data": own["dataset"], "baseline": baseline})
        for baseline in (other["audit_id"], "0" * 36)
    ]
    assert baselines[0].status_code == baselines[1].status_code == 422
    assert baselines[0].text.replace(other["audit_id"], "0" * 36) == baselines[1].text
    filtered = intruder.get("/api/v1/audits", params={"model": other["model"]})
    assert filtered.json()["items"] == []


def test_one_idempotency_key_in_two_projects_is_two_requests(app, mine, theirs, monkeypatch):
    monkeypatch.setattr("auditor.api.audits._SETTLING_SECONDS", 0.0)
    made = [
        client_with(app, owner.key).post(
            "/api/v1/audits",
            json={"model": owner.names["model"], "data": owner.names["dataset"], "seed": 77},
            headers={"Idempotency-Key": "the same"},
        )
        for owner in (mine, theirs)
    ]
    assert [answer.status_code for answer in made] == [202, 202]
    assert made[0].json()["id"] != made[1].json()["id"]


def test_equal_bytes_are_stored_once_without_anyone_learning_of_it(app, mine, theirs):
    answers = [
        client_with(app, owner.key).post(
            "/api/v1/models", params={"name": f"{owner.mark}-again", "wait": 0}, content=b"the very same bytes"
        )
        for owner in (mine, theirs)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    first, second = (set(answer.json()) for answer in answers)
    assert first == second
