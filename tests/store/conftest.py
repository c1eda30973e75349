"""What is queued: projects with an audit, and items of it."""

import pytest
from sqlalchemy import update

from auditor import queue
from auditor.store.ids import new_id
from auditor.store.tables import Audit, Blob, Dataset, Item, Model, Project, Version

KINDS = ("check", "settle", "prepare", "attack", "finish")
LEASE = 60.0


class Bench:
    """A queue on a database: each call is a transaction of its own."""

    def __init__(self, database):
        self.database = database

    def audit(self, project=None, *, quota=None, **columns):
        """An audit of a project of its own, or of the project of that id."""
        with self.database.transaction() as session:
            if project is None:
                owner = Project(name=new_id(), created_at=0.0, quota_seconds=quota)
                session.add(owner)
                session.flush()
                project = owner.id
            version, dataset = subjects(session, project)
            values = {"words": {}, "state": "running", "created_at": 0.0} | columns
            audit = Audit(project_id=project, version_id=version.id, dataset_id=dataset.id, **values)
            session.add(audit)
        return audit

    def put(self, audit, *names, kind="attack", **columns):
        with self.database.transaction() as session:
            for name in names:
                queue.put(session, project_id=audit.project_id, audit_id=audit.id, kind=kind, name=name, **columns)

    def claim(self, owner="worker", *, kinds=KINDS, devices=("cpu",), prefer=None):
        with self.database.transaction() as session:
            return queue.claim(session, owner, kinds=kinds, devices=devices, lease=LEASE, prefer=prefer)

    def names(self, count, **options):
        """The names of the next items, in the order in which they are claimed; all stay claimed."""
        return [found and found.name for found in (self.claim(**options) for _ in range(count))]

    def call(self, function, *arguments, **options):
        with self.database.transaction() as session:
            return function(session, *arguments, **options)

    def end(self, claim, state="done", seconds=1.0, **options):
        self.call(queue.end, claim, state, seconds=seconds, **options)

    def item(self, claim):
        with self.database.reading() as session:
            return session.get(Item, claim.id)

    def set(self, table, *where, **columns):
        """Change rows behind the queue's back: how time passes here."""
        with self.database.transaction() as session:
            session.execute(update(table).where(*where).values(**columns))

    def expire(self, claim):
        self.set(Item, Item.id == claim.id, lease_until=1.0)

    def wait(self):
        """All waits are over."""
        self.set(Item, not_before=0.0)


def subjects(session, project_id):
    digest = "0" * 64
    if session.get(Blob, digest) is None:
        session.add(Blob(sha256=digest, size=1, created_at=0.0, used_at=0.0))
    model = Model(project_id=project_id, name=new_id(), created_at=0.0)
    session.add(model)
    session.flush()
    stored = {"sha256": digest, "size": 1, "filename": "f", "state": "ready", "created_at": 0.0}
    version, dataset = (
        Version(model_id=model.id, number=1, **stored),
        Dataset(project_id=project_id, name="d", **stored),
    )
    session.add_all([version, dataset])
    session.flush()
    return version, dataset


@pytest.fixture
def bench(database):
    return Bench(database)
