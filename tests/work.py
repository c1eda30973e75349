"""Audits put into a service by hand, as the API puts them, and what became of them."""

import json
import threading
import time
from contextlib import contextmanager

from sqlalchemy import select

from auditor import queue
from auditor.operations.service import Service
from auditor.store.artifacts import blob_key
from auditor.store.database import now
from auditor.store.queries import blobs
from auditor.store.tables import Artifact, Audit, Dataset, Event, Item, Model, Project, Version
from auditor.workers.loop import Worker
from tests.conftest import DEMO

# The smallest audit that has several slices and both norms.
WORDS = {
    "examples": 40,
    "norm": ["Linf", "L2"],
    "eps": ["0.1", "0.5"],
    "attack": ["fgsm", "pgd"],
    "batch_size": 4,
    "threads": 1,
}


def put_blob(service: Service, data: bytes) -> str:
    sha256, size = service.artifacts.put([data])
    with service.database.transaction() as session:
        blobs.refer(session, sha256, size)
    return sha256


def put_inputs(service, project: Project, model=DEMO / "digits.onnx", data=DEMO / "digits.npz", state="ready"):
    """(version id, dataset id) of one model and dataset."""
    made = {"project_id": project.id, "created_at": now()}
    with service.database.transaction() as session:
        name = Model(name=f"{model.stem}-{time.time_ns()}", numbers=1, **made)
        session.add(name)
        session.flush()
        stored = [(path.name, path.stat().st_size, put_blob_in(service, session, path)) for path in (model, data)]
        (filename, size, sha256), (data_name, data_size, data_sha256) = stored
        file = {"filename": filename, "size": size, "sha256": sha256, "state": state}
        version = Version(model_id=name.id, number=1, created_at=now(), **file)
        file = {"filename": data_name, "size": data_size, "sha256": data_sha256, "state": state}
        dataset = Dataset(name=data.stem, **file, **made)
        session.add_all([version, dataset])
        session.flush()
        return version.id, dataset.id


def put_blob_in(service, session, path) -> str:
    sha256, size = service.artifacts.put([path.read_bytes()])
    blobs.refer(session, sha256, size)
    session.flush()
    return sha256


def put_audit(service, project, inputs, words=WORDS, **columns) -> str:
    """The id of an audit that is to be settled."""
    version_id, dataset_id = inputs
    with service.database.transaction() as session:
        about = {"project_id": project.id, "version_id": version_id, "dataset_id": dataset_id}
        audit = Audit(words=words, state="settling", created_at=now(), **about, **columns)
        session.add(audit)
        session.flush()
        queue.put(session, project_id=project.id, kind="settle", name="settle", audit_id=audit.id)
        return audit.id


def audit_of(service, audit_id) -> Audit:
    with service.database.reading() as session:
        return session.get_one(Audit, audit_id)


def rows(service, table, **equal):
    """Rows of a table by the values of some columns."""
    with service.database.reading() as session:
        chosen = [getattr(table, name) == value for name, value in equal.items()]
        return session.scalars(select(table).where(*chosen)).all()


def events(service, audit_id) -> list[str]:
    return [event.type for event in sorted(rows(service, Event, audit_id=audit_id), key=lambda event: event.number)]


def report(service, audit_id) -> dict:
    (found,) = rows(service, Artifact, audit_id=audit_id, kind="report")
    return json.loads(service.artifacts.read(blob_key(found.sha256)))


def unfinished(service) -> int:
    return len(rows(service, Item, state="queued")) + len(rows(service, Item, state="running"))


def work_off(worker: Worker) -> None:
    """Do everything that can be done."""
    while worker.run_once():
        pass
    worker.rest()


def until(condition, seconds=60.0, every=0.05):
    """Wait for a condition; fails when it does not come about."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{condition} did not come about within {seconds} s"
        time.sleep(every)
    return found


@contextmanager
def at_work(*workers: Worker):
    """Workers in threads, until the block ends."""
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stopping.set()
        for thread in threads:
            thread.join()
