"""A project that has one of everything, and whose things can be told from another's."""

import shutil
from dataclasses import dataclass, replace

from fastapi.testclient import TestClient

from auditor.operations import keys, projects
from auditor.workers.loop import Worker
from tests.conftest import DEMO
from tests.work import WORDS, put_audit, put_inputs, work_off

SMALL = WORDS | {"examples": 8, "attack": ["fgsm"], "eps": ["0.05,0.3", "0.2,2"]}
GATED = SMALL | {"fail_under": ["Linf:0.05=0.1"]}  # so that every format has something to say


@dataclass(frozen=True)
class Filled:
    """A project. mark: a word in the names of its things; key, reader: API keys; names: its things, by the name that
    the interface's parameters have for them; private: what nobody else may ever be shown."""

    mark: str
    key: str
    reader: str
    names: dict[str, str]
    private: tuple[str, ...]


def of_closed_network(service):
    """The same service, with webhooks to any address and no limit of requests that a test could reach."""
    settings = replace(service.settings, webhook_networks="any", rate_limit="100000/second")
    return replace(service, settings=settings)


def client_with(app, key=None):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return TestClient(app, base_url="http://localhost", headers=headers, raise_server_exceptions=False)


def fill(app, mark, folder) -> Filled:
    """A new project, all of whose things bear the mark in their names; its finished audit was done by a worker."""
    service = app.state.service
    with service.database.transaction() as session:
        project = projects.ensure(session, f"project-{mark}")
        key, reader = (
            keys.create_key(session, project.id, f"{mark}-{role}", role)[1] for role in ("admin", "reader")
        )
    files = [shutil.copy(DEMO / f"digits{suffix}", folder / f"{mark}{suffix}") for suffix in (".onnx", ".npz")]
    version, dataset = put_inputs(service, project, *files)
    worker = Worker(service, f"worker-{mark}", folder / f"scratch-{mark}")
    audit = put_audit(service, project, (version, dataset), GATED)
    work_off(worker)
    other = put_audit(service, project, (version, dataset), GATED)  # is answered by the report of the first
    work_off(worker)
    api = client_with(app, key)
    asked = _Asked(api)
    model = asked.get("/models")["items"][0]["name"]
    asked.put(f"/models/{model}/aliases/{mark}-alias", {"version": 1})
    upload = asked.post("/uploads", {"filename": f"{mark}.onnx", "size": 8})
    hook = asked.post("/webhooks", {"url": f"http://127.0.0.1:9/{mark}"})
    asked.post(f"/webhooks/{hook['id']}/test")
    link = asked.post(f"/audits/{audit}/links", {})
    spare = asked.post("/keys", {"name": f"{mark}-spare"})
    broken = asked.get(f"/audits/{audit}/examples")["items"][0]
    names = {
        "norm": broken["norm"],
        "example": str(broken["example"]),
        "model": model,
        "number": "1",
        "alias": f"{mark}-alias",
        "dataset": asked.get("/datasets")["items"][0]["name"],
        "audit_id": audit,
        "other": other,
        "upload_id": upload["id"],
        "webhook_id": hook["id"],
        "link_id": link["id"],
        "key_id": spare["id"],
    }
    private = (
        mark,
        project.id,
        version,
        dataset,
        hook["secret"],
        *(name for name in names.values() if len(name) > 4),
    )
    return Filled(mark, key, reader, names, private)


class _Asked:
    """Requests that must succeed."""

    def __init__(self, client) -> None:
        self._client = client

    def get(self, path):
        return self._sent("GET", path)

    def post(self, path, body=None):
        return self._sent("POST", path, body)

    def put(self, path, body=None):
        return self._sent("PUT", path, body)

    def _sent(self, method, path, body=None):
        answer = self._client.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()
