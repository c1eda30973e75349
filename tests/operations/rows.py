"""Rows and bytes put by hand, as the service leaves them."""

import hashlib
import time
from dataclasses import dataclass

from sqlalchemy import func, select

from auditor.store.artifacts import blob_key
from auditor.store.tables import (
    Artifact,
    Audit,
    Blob,
    Checkpoint,
    Dataset,
    Event,
    Idempotency,
    Item,
    Link,
    Model,
    Outcome,
    Point,
    Project,
    Stage,
    Table,
    Version,
)

KINDS = {"report": b"{}", "adversarial": b"npz", "outcomes": b"parquet"}


@dataclass(frozen=True)
class Audited:
    """Ids of a model's version, a dataset and an audit of the two; digests of the blobs that each refers to."""

    model: str
    version: str
    dataset: str
    audit: str
    files: dict[str, str]


def blob(service, session, data, *, at):
    """Keep bytes, with their row; their digest."""
    sha256, size = service.artifacts.put([data])
    session.merge(Blob(sha256=sha256, size=size, created_at=at, used_at=at))
    session.flush()
    return sha256


def audited(service, project, *, name="digits", state="done", at=None, salt=b""):
    """A model, a dataset and an audit in that state, with a row of every kind that belongs to an audit. at: when."""
    at = time.time() if at is None else at
    with service.database.transaction() as session:
        model_bytes = blob(service, session, b"model" + salt, at=at)
        dataset_bytes = blob(service, session, b"dataset" + salt, at=at)
        model = Model(project_id=project.id, name=name, created_at=at)
        dataset = Dataset(
            project_id=project.id,
            name=name,
            sha256=dataset_bytes,
            size=7,
            filename="d.npz",
            state="ready",
            created_at=at,
        )
        session.add_all([model, dataset])
        session.flush()
        version = Version(
            model_id=model.id, number=1, sha256=model_bytes, size=5, filename="m.onnx", state="ready", created_at=at
        )
        session.add(version)
        session.flush()
        audit = Audit(
            project_id=project.id,
            version_id=version.id,
            dataset_id=dataset.id,
            words={},
            state=state,
            created_at=at,
            finished_at=at if state in ("done", "failed", "cancelled") else None,
        )
        session.add(audit)
        session.flush()
        files = {kind: blob(service, session, data + salt, at=at) for kind, data in KINDS.items()}
        session.add_all(_belongings(service, project, audit, files, at))
    return Audited(model.id, version.id, dataset.id, audit.id, {"m": model_bytes, "d": dataset_bytes} | files)


def item(service, project, about, *, kind="attack", name="slice-00000", state="queued", **columns):
    """A work item of the audit, or of what `columns` says."""
    place = columns if {"version_id", "dataset_id"} & columns.keys() else {"audit_id": about.audit} | columns
    with service.database.transaction() as session:
        row = Item(project_id=project.id, kind=kind, name=name, state=state, created_at=time.time(), **place)
        session.add(row)
    return row


def count(service, table):
    with service.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def rows_left(service):
    """How many rows each table has, without projects and empty tables."""
    tables = {mapper.class_ for mapper in Table.registry.mappers} - {Project}
    return {table.__tablename__: n for table in tables if (n := count(service, table))}


def keys(service, prefix=""):
    """What lies in the artifact store."""
    return {stored.key for stored in service.artifacts.list(prefix)}


def is_kept(service, sha256):
    """Whether a blob is there, row and bytes; both or none."""
    with service.database.reading() as session:
        row = session.get(Blob, sha256)
    there = service.artifacts.head(blob_key(sha256)) is not None
    assert there == (row is not None)
    return there


def _belongings(service, project, audit, files, at):
    about = {"audit_id": audit.id}
    key = f"work/{audit.id}/prepared/1-abc"
    service.artifacts.write(key, b"checkpoint")
    yield Checkpoint(**about, name="prepared", key=key, sha256="0" * 64, size=10)
    yield Stage(
        **about,
        item="slice-00000",
        position=0,
        attack="apgd",
        norm="Linf",
        access="white-box",
        tried=40,
        broken=3,
        claims=3,
        refuted=0,
        forwards=400,
        backwards=300,
        seconds=2.5,
    )
    bounds = {"lower": 0.1, "upper": 0.2, "true_lower": 0.1, "true_upper": 0.2}
    yield Point(
        **about,
        norm="Linf",
        position=0,
        eps="1/255",
        value=1 / 255,
        robust_accuracy=0.1,
        broken_by={},
        unfinished=0,
        **bounds,
    )
    yield Outcome(
        **about,
        norm="Linf",
        position=0,
        example=7,
        label=1,
        predicted=1,
        status="survived",
        complete=True,
        forwards=1,
        backwards=1,
    )
    for kind, sha256 in files.items():
        yield Artifact(
            **about, kind=kind, filename=kind, media_type="application/json", sha256=sha256, size=2, created_at=at
        )
    yield Event(**about, number=1, type="audit.done", data={}, at=at)
    yield Link(**about, sha256=hashlib.sha256(audit.id.encode()).hexdigest(), created_at=at, expires_at=at + 3600)
    yield Idempotency(
        project_id=project.id, key=audit.id, request_sha256="0" * 64, **about, status=201, created_at=at
    )
