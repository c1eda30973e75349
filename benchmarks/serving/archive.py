"""A project with a past: a thousand finished audits of twenty models, and some of everything else."""

from typing import Any

from sqlalchemy import select

from auditor import resources
from auditor.operations import blobs, create, datasets, keys, links, models, uploads, webhooks
from auditor.operations.work import checks
from auditor.store.queries import work as queries
from auditor.store.tables import Audit, Event, Version
from auditor.workers.worker import worker
from serving.installation import DATA, MODEL, Installation
from serving.prepared import claimed

WORDS: dict[str, Any] = {
    "examples": 200,
    "norm": ["Linf", "L2"],
    "eps": ["0.02,0.04,0.06,0.08,0.1", "0.2,0.4,0.6,0.8,1"],
    "attack": ["fgsm", "pgd"],
}
_MODELS = 20


def fill(installation: Installation, count: int) -> tuple[list[str], dict[str, str]]:
    """The ids of `count` finished audits that found the same, of which the first was really done; and what else
    there is, by the names that the interface's parameters have for it."""
    first = _audited(installation)
    versions = _models(installation)
    ids = [first]
    while len(ids) < count:
        ids += _copies(installation, first, versions, min(50, count - len(ids)))
    return ids, _others(installation, first)


def submit(installation: Installation, words: dict[str, Any]) -> str:
    asked = resources.NewAudit(model="digits", data="digits", **words)
    return create.create(installation.service, installation.project, asked)


def _audited(installation: Installation) -> str:
    installation.upload_demo()
    with worker(installation.settings, "benchmark") as at_work:
        while at_work.run_once():
            pass
        audit_id = submit(installation, WORDS)
        while at_work.run_once():
            pass
    return audit_id


def _models(installation: Installation) -> list[str]:
    """The ids of versions of further models, and of as many datasets."""
    service, project = installation.service, installation.project
    kept = [blobs.keep(service, [path.read_bytes()]) for path in (MODEL, DATA)]
    with service.database.reading() as session:
        facts = session.scalars(select(Version.facts)).one()
    ids = []
    for number in range(_MODELS):
        name = f"digits-{number:02}"
        ids.append(models.add(service, project, models.NewVersion(name, MODEL.name), *kept[0]).id)
        datasets.add(service, project, name, DATA.name, *kept[1])
        for _ in ("model", "data"):
            checks.checked(service, claimed(installation), facts or {}, 0.0)
    return ids


def _copies(installation: Installation, first: str, versions: list[str], count: int) -> list[str]:
    with installation.service.database.transaction() as session:
        audit = session.get_one(Audit, first)
        columns = {column.name: getattr(audit, column.name) for column in Audit.__table__.columns}
        events = session.scalars(select(Event).where(Event.audit_id == first)).all()
        told = [{name: getattr(event, name) for name in ("number", "type", "data", "at")} for event in events]
        del columns["id"]
        copies = [Audit(**columns | {"version_id": versions[n % len(versions)]}) for n in range(count)]
        session.add_all(copies)
        session.flush()
        for copy in copies:
            queries.copy_results(session, first, copy.id)
            session.add_all(Event(audit_id=copy.id, **event) for event in told)
        return [copy.id for copy in copies]


def _others(installation: Installation, audit_id: str) -> dict[str, str]:
    service, project = installation.service, installation.project
    models.set_alias(service, project, "digits", "prod", 1)
    for _ in range(5):
        _, shared = links.create(service, project, audit_id, 86400.0)
        hook = webhooks.create(service, project, resources.NewWebhook(url="http://127.0.0.1:9/hook"))
        webhooks.send_test(service, project, hook.id)
        with service.database.transaction() as session:
            keys.create_key(session, project, "further", "reader")
    upload = uploads.create(service, project, resources.NewUpload(filename=MODEL.name, size=8))
    return {
        "model": "digits",
        "number": "1",
        "dataset": "digits",
        "upload_id": upload.id,
        "webhook_id": hook.id,
        "token": shared.split("/")[-2],
        "kind": "outcomes",
        "name": "not-found",
    }
