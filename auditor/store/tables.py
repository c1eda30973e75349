"""Every table. Times are seconds since 1970 in UTC by the database's clock; ids are UUIDs of version 7, so that they
sort by creation; digests are SHA-256 in lower-case hex.

Nothing here is read or written from outside `store` but through `store.queries` and `queue`.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from auditor.store.ids import new_id

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share: names of constraints that every database agrees on, and how types are stored."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {
        str: Text(),
        int: BigInteger(),
        float: Double(),
        bytes: LargeBinary(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


def _id() -> Mapped[str]:
    return mapped_column(String(36), primary_key=True, default=new_id)


def _owner(column: str, *, nullable: bool = False, index: bool = True) -> Mapped[Any]:
    """A reference whose target's deletion deletes this row too."""
    return mapped_column(String(36), ForeignKey(column, ondelete="CASCADE"), nullable=nullable, index=index)


def _digest(*, nullable: bool = False, index: bool = False) -> Mapped[Any]:
    return mapped_column(String(64), nullable=nullable, index=index)


class Project(Table):
    """A tenant. None as a quota means no limit. retention: days by kind of artifact; a kind that is absent is kept."""

    __tablename__ = "project"
    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[float]
    quota_bytes: Mapped[int | None]  # of models, datasets and artifacts together
    quota_audits: Mapped[int | None]  # audits that are neither done, failed nor cancelled
    quota_seconds: Mapped[int | None]  # of compute, in any 30 days
    retention: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Key(Table):
    """An API key. Only the digest of the whole key is kept; the prefix finds the row."""

    __tablename__ = "key"
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id")
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    sha256: Mapped[str] = _digest()
    role: Mapped[str] = mapped_column(String(16))  # reader, submitter, admin
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class Session(Table):
    """Somebody signed in to the web page with a key, whose scopes hold as long as it does. Only the token's digest is
    kept."""

    __tablename__ = "session"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = _owner("key.id")
    expires_at: Mapped[float] = mapped_column(index=True)


class Blob(Table):
    """Bytes in the artifact store under their digest. Whether anything refers to it is asked, not counted."""

    __tablename__ = "blob"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int]
    created_at: Mapped[float]
    used_at: Mapped[float]  # when it was last written or referred to; garbage is collected a grace period later


class Upload(Table):
    """A file on its way in, in pieces. received: bytes that are safely stored; sha256: as declared, if it was."""

    __tablename__ = "upload"
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id")
    filename: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str | None] = _digest(nullable=True)
    received: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]
    expires_at: Mapped[float]


class Piece(Table):
    """Bytes of an upload that are safely stored, from `position` on. Two writers at one position write two keys, and
    one of them gets the row."""

    __tablename__ = "piece"
    upload_id: Mapped[str] = mapped_column(String(36), ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int]
    key: Mapped[str]


class Model(Table):
    """A name for a sequence of versions. numbers: how many were ever given, so that none is given twice. surrogate:
    whether its versions may stand in for other models of the project in their audits."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id")
    name: Mapped[str] = mapped_column(String(200))
    numbers: Mapped[int] = mapped_column(default=0)
    surrogate: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]


class Version(Table):
    """One uploaded ONNX file. facts: what the check found; reason: why it was refused. input, output, layout,
    and under `declared` further words of the same kind: as declared at the upload, where the file leaves a choice."""

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("model_id", "number"),)
    id: Mapped[str] = _id()
    model_id: Mapped[str] = _owner("model.id", index=False)
    number: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), ForeignKey("blob.sha256"), index=True)
    size: Mapped[int]
    filename: Mapped[str]
    input: Mapped[str | None]
    output: Mapped[str | None]
    layout: Mapped[str | None] = mapped_column(String(4))
    declared: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(16))  # checking, ready, refused
    reason: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]


class Alias(Table):
    """A movable name for one version of a model, such as prod."""

    __tablename__ = "alias"
    model_id: Mapped[str] = mapped_column(String(36), ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    version_id: Mapped[str] = _owner("version.id")


class Dataset(Table):
    """One uploaded dataset; see Version."""

    __tablename__ = "dataset"
    __table_args__ = (Index(None, "project_id", "name"),)
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id", index=False)
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64), ForeignKey("blob.sha256"), index=True)
    size: Mapped[int]
    filename: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))  # checking, ready, refused
    reason: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]


class Audit(Table):
    """An audit. words: the options as asked, named as on the command line; spec and what follows it are known once it
    is settled. pending: work items that must end before it can be finished. events: how many it has had."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "project_id", "state"), Index(None, "project_id", "id"))
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id", index=False)
    version_id: Mapped[str] = _owner("version.id")
    dataset_id: Mapped[str] = _owner("dataset.id")
    words: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))  # settling, queued, running, cancelling; done, failed, cancelled
    priority: Mapped[int] = mapped_column(default=0)
    pending: Mapped[int] = mapped_column(default=0)
    events: Mapped[int] = mapped_column(default=0)
    extends_id: Mapped[str | None] = mapped_column(
        String(36), ForeignKey("audit.id", ondelete="SET NULL"), index=True
    )
    baseline_id: Mapped[str | None] = mapped_column(
        String(36), ForeignKey("audit.id", ondelete="SET NULL"), index=True
    )
    spec: Mapped[dict[str, Any] | None]
    subject_sha256: Mapped[str | None] = _digest(nullable=True, index=True)  # Subject.sha256: what results depend on
    chosen: Mapped[list[str] | None]  # sentences about what was chosen where the request said nothing
    estimate: Mapped[dict[str, Any] | None]
    facts: Mapped[dict[str, Any] | None]  # once prepared: plan, gradient, clean counts; once done: a summary
    problem: Mapped[dict[str, Any] | None]  # why it failed: {"type": …, "detail": …}
    stopped: Mapped[str | None]  # why it ended early: a budget
    seconds: Mapped[float] = mapped_column(default=0.0)  # of compute, by all workers together
    results_sha256: Mapped[str | None] = _digest(nullable=True)
    verdict: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class Surrogate(Table):
    """A version that stands in for the audited one in the transfer attacks of an audit. normalisation: the options mean
    and std, where they were given for it."""

    __tablename__ = "surrogate"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[str] = _owner("version.id")
    normalisation: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Spending(Table):
    """Compute that a project spent on a day, which counts when its audits are deleted too. day: since 1970, in UTC."""

    __tablename__ = "spending"
    project_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("project.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[int] = mapped_column(primary_key=True)
    seconds: Mapped[float]


class Item(Table):
    """A work item: what a worker claims. Exactly one of audit_id, version_id, dataset_id is what it is about.

    attempt counts claims and fences writes; deaths are of the child process alone and poison it; losses are leases
    that ran out or were freed.
    """

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("audit_id", "name"),
        Index("ix_item_served", "project_id", "claimed_at"),
        Index("ix_item_lease", "state", "lease_until"),
    )
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id", index=False)
    audit_id: Mapped[str | None] = _owner("audit.id", nullable=True, index=False)
    version_id: Mapped[str | None] = _owner("version.id", nullable=True)
    dataset_id: Mapped[str | None] = _owner("dataset.id", nullable=True)
    kind: Mapped[str] = mapped_column(String(16))  # check, settle, prepare, attack, finish
    name: Mapped[str]  # of an attack: the engine's work item, such as slice-00003; else the kind
    device: Mapped[str] = mapped_column(String(8), default="cpu")  # cpu, cuda: only workers with one may claim it
    state: Mapped[str] = mapped_column(String(16))  # queued, running; done, poisoned, cut, cancelled
    priority: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    deaths: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    claimed_at: Mapped[float | None]  # the last time
    not_before: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[float]
    finished_at: Mapped[float | None]


# a project's order: highest priority first, then age
Index("ix_item_lane", Item.project_id, Item.state, Item.kind, Item.device, Item.priority.desc(), Item.id)
Index("ix_item_warm", Item.audit_id, Item.state, Item.priority.desc(), Item.id)


class Checkpoint(Table):
    """What survives a kill of an audit's work, by the engine's name for it. The bytes lie in the artifact store."""

    __tablename__ = "checkpoint"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str]
    sha256: Mapped[str] = _digest()
    size: Mapped[int]


class Stage(Table):
    """What one stage did on one work item."""

    __tablename__ = "stage"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    item: Mapped[str] = mapped_column(String(200), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    attack: Mapped[str]
    norm: Mapped[str] = mapped_column(String(4))
    access: Mapped[str] = mapped_column(String(24))
    tried: Mapped[int]
    broken: Mapped[int]
    claims: Mapped[int]
    refuted: Mapped[int]
    forwards: Mapped[int]
    backwards: Mapped[int]
    seconds: Mapped[float]


class Point(Table):
    """A curve at one eps of one threat; see report.json."""

    __tablename__ = "point"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    norm: Mapped[str] = mapped_column(String(4), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    eps: Mapped[str]
    value: Mapped[float]
    robust_accuracy: Mapped[float]
    lower: Mapped[float]
    upper: Mapped[float]
    true_lower: Mapped[float]
    true_upper: Mapped[float]
    certified_accuracy: Mapped[float | None]
    broken_by: Mapped[dict[str, Any]]
    unfinished: Mapped[int]


class Outcome(Table):
    """What is known of one example under one threat. position: among the sampled examples; example: in the dataset.
    distance: in widths of the domain, null where nothing was found. adversarial, confidence: the class that the
    point found gets, and how sure of it the model is. forwards, backwards: passes spent on it."""

    __tablename__ = "outcome"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    norm: Mapped[str] = mapped_column(String(4), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    example: Mapped[int]
    label: Mapped[int]
    predicted: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))  # wrong, broken, certified, not_tried, survived
    distance: Mapped[float | None]
    attack: Mapped[str | None]
    margin: Mapped[float | None]
    adversarial: Mapped[int | None]
    confidence: Mapped[float | None]
    certified_radius: Mapped[float | None]
    complete: Mapped[bool]
    forwards: Mapped[int]
    backwards: Mapped[int]


class Artifact(Table):
    """A file that an audit gave. kind: report, adversarial, outcomes. removed_at: its retention ended; only this row
    is left, so that a reader is told so."""

    __tablename__ = "artifact"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    filename: Mapped[str]
    media_type: Mapped[str]
    sha256: Mapped[str | None] = mapped_column(String(64), ForeignKey("blob.sha256"), index=True)
    size: Mapped[int]
    created_at: Mapped[float]
    removed_at: Mapped[float | None]


class Event(Table):
    """What happened to an audit, numbered from 1 without gaps: what a stream of events resumes from."""

    __tablename__ = "event"
    audit_id: Mapped[str] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    at: Mapped[float]


class Webhook(Table):
    """Where a project wants to be told. secret: the signing key itself, since signatures are made with it."""

    __tablename__ = "webhook"
    id: Mapped[str] = _id()
    project_id: Mapped[str] = _owner("project.id")
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]]
    created_at: Mapped[float]
    disabled_at: Mapped[float | None]  # after a delivery failed for good
    reason: Mapped[str | None]


class Delivery(Table):
    """The outbox: a message to one webhook, written in the transaction of what it tells. Its id is the webhook-id."""

    __tablename__ = "delivery"
    __table_args__ = (Index(None, "state", "not_before"),)
    id: Mapped[str] = _id()
    webhook_id: Mapped[str] = _owner("webhook.id")
    type: Mapped[str]
    body: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))  # queued, delivered, failed
    attempt: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    status: Mapped[int | None]  # the last HTTP status
    error: Mapped[str | None]
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]


class Link(Table):
    """A read-only link to one audit's report. Only the token's digest is kept."""

    __tablename__ = "link"
    id: Mapped[str] = _id()
    audit_id: Mapped[str] = _owner("audit.id")
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    expires_at: Mapped[float]


class Idempotency(Table):
    """The answer to a request that carried an Idempotency-Key. status is null while the first is in flight."""

    __tablename__ = "idempotency"
    project_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("project.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_sha256: Mapped[str] = _digest()
    audit_id: Mapped[str | None] = mapped_column(String(36), ForeignKey("audit.id", ondelete="CASCADE"), index=True)
    status: Mapped[int | None]
    created_at: Mapped[float]


class Worker(Table):
    """A worker process that reports for work."""

    __tablename__ = "worker"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))
    kinds: Mapped[list[str]]
    started_at: Mapped[float]
    seen_at: Mapped[float] = mapped_column(index=True)
    gpu_used: Mapped[int | None]  # bytes, of its device
    gpu_total: Mapped[int | None]
