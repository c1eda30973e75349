"""New audits: as asked for, or a finished one with more epsilons or examples."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from auditor import queue, resources
from auditor.operations import datasets, idempotency, models, projects
from auditor.operations.errors import Conflict, NotFound, StillChecking, Unacceptable
from auditor.operations.service import Service
from auditor.spec import AuditSpec, Threat, build, digest
from auditor.store.queries import audits as queries
from auditor.store.tables import Audit, Dataset, Model, Surrogate, Version

_SETTLE_PRIORITY = 100  # somebody waits for the answer
_MOST_EPS = 200  # per norm
_WORKER_SECONDS = 60.0  # a worker that has not reported for longer is not there
_NOT_WORDS = {"model", "data", "baseline", "priority", "surrogates"}


def create(service: Service, project_id: str, asked: resources.NewAudit, key: str | None = None) -> str:
    """The id of the audit that was asked for, which has yet to be settled. key: the header Idempotency-Key.

    Raises SpecError, NotFound, Conflict, Unacceptable or QuotaExceeded before anything is stored.
    """
    words, baseline = _words(asked)
    _check(words, asked.surrogates, baseline)

    def make(session: Session) -> dict[str, Any]:
        version = models.resolve_version(session, project_id, asked.model)
        dataset = datasets.resolve(session, project_id, asked.data)
        _require_ready("the model", asked.model, version)
        _require_ready("the dataset", asked.data, dataset)
        return {
            "version_id": version.id,
            "dataset_id": dataset.id,
            "words": _over(models.declared(version), words),
            "priority": asked.priority,
            "baseline_id": _baseline(session, project_id, baseline),
            "surrogates": [_stand_in(session, project_id, named) for named in asked.surrogates],
        }

    return _once(service, project_id, key, asked.model_dump(mode="json"), make)


def extend(
    service: Service, project_id: str, audit_id: str, more: resources.Extension, key: str | None = None
) -> str:
    """The id of a new audit that asks for what a finished one asked for, and more.

    Raises NotFound, Conflict while the audit is not done, Unacceptable where nothing is added, and what `create` raises.
    """
    with service.database.reading() as session:
        found = queries.one(session, project_id, audit_id)
        named = [
            resources.NamedSurrogate(model=row.version_id, **row.normalisation)
            for row, _ in queries.surrogates(session, audit_id)
        ]
    if found is None:
        raise NotFound(f"there is no audit {audit_id} in this project")
    before = found.audit
    if before.state != "done":
        raise Conflict(f"audit {audit_id} is {before.state}; one that is done can be extended")
    words = _extended(before, more)
    _check(words, named, before.baseline_id)

    def make(session: Session) -> dict[str, Any]:
        kept = {name: getattr(before, name) for name in ("version_id", "dataset_id", "priority", "baseline_id")}
        surrogates = [_stand_in(session, project_id, one) for one in named]
        return {**kept, "words": words, "extends_id": before.id, "surrogates": surrogates}

    return _once(service, project_id, key, [audit_id, more.model_dump(mode="json")], make)


def _once(
    service: Service, project_id: str, key: str | None, request: Any, make: Callable[[Session], dict[str, Any]]
) -> str:
    """Add an audit and its first work item; with the key of an earlier request, give that one's audit."""
    with service.database.transaction() as session:
        stored = None if key is None else idempotency.begin(session, project_id, key, digest(request))
        if stored is not None:
            return str(stored.audit_id)
        columns = make(session)
        device = columns["words"].get("device", "cpu")
        _require_worker(session, device)
        projects.check_audits(session, project_id)
        audit = queries.add(session, project_id=project_id, **columns)
        place = {"device": device, "priority": _SETTLE_PRIORITY + audit.priority}
        queue.put(session, project_id=project_id, kind="settle", name="settle", audit_id=audit.id, **place)
        if key is not None:
            idempotency.end(session, project_id, key, audit.id, 202)
    service.ring()
    return audit.id


def _over(declared: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """What was said of the audit over what was declared of its model. Of all labels at once and one alone, either stands for the
    other."""
    said = words.keys() & {"label", "multilabel"}
    return {name: value for name, value in declared.items() if not (said and name in ("label", "multilabel"))} | words


def _words(asked: resources.NewAudit) -> tuple[dict[str, Any], str | None]:
    """What was said, and what it is to be compared with: a policy may say that too."""
    from auditor.options import lifted

    said = asked.model_dump(exclude=_NOT_WORDS - {"baseline"})
    words = {name: value for name, value in said.items() if not (value is None or value is False or value == [])}
    if "policy" in words:
        words = lifted(words)
    baseline = words.pop("baseline", None)
    return words, None if baseline is None else str(baseline)


def _check(words: dict[str, Any], surrogates: Sequence[resources.NamedSurrogate], baseline: str | None) -> None:
    """SpecError for what is wrong whatever the model and the data are."""
    from auditor.data.domain import UNDECLARED
    from auditor.options import request
    from auditor.request import specify

    named = [one.model_dump(exclude_none=True) for one in surrogates]
    asked = request({**words, "model": "model", "data": "data", "surrogate": named, "baseline": baseline})
    asked.refuse_expired()
    asked.settings.pop("label", None)  # which the model knows by name
    # Which threats and which domain stand in for those that the data choose makes no difference to what is refused.
    domain = (0.0, 1.0) if asked.domain is UNDECLARED else asked.domain
    spec = specify(asked, asked.threat or "image-8bit", domain=domain)
    for threat in spec.threats:
        if len(threat.eps) > _MOST_EPS:
            raise Unacceptable(f"{len(threat.eps)} eps for {threat.norm} are too many; give at most {_MOST_EPS}")


def _stand_in(session: Session, project_id: str, named: resources.NamedSurrogate) -> Surrogate:
    """Raises NotFound, Conflict, and Unacceptable for a model that was not opened to this."""
    version = models.resolve_version(session, project_id, named.model)
    model = session.get_one(Model, version.model_id)
    if not model.surrogate:
        raise Unacceptable(
            f"the model {model.name} is not open to stand in for others; PATCH /api/v1/models/{model.name} with "
            '{"surrogate": true} opens it, and so does an upload with surrogate=true'
        )
    _require_ready("the surrogate", named.model, version)
    return Surrogate(
        version_id=version.id, normalisation=named.model_dump(include={"mean", "std"}, exclude_none=True)
    )


def _require_ready(kind: str, reference: str, row: Version | Dataset) -> None:
    if row.state == "checking":
        raise StillChecking(f"{kind} {reference} is still being checked; try again in a moment")
    if row.state == "refused":
        raise Conflict(f"{kind} {reference} was refused: {row.reason}")


def _require_worker(session: Session, device: str) -> None:
    seen = queries.devices(session, _WORKER_SECONDS)
    if device == "cuda" and not any(found.startswith("cuda") for found in seen):
        raise Conflict("no worker with a CUDA device is at work; start one, or ask for device cpu")


def _baseline(session: Session, project_id: str, reference: str | None) -> str | None:
    """The audit that a reference means: an id, or a version whose newest finished audit it is."""
    if reference is None:
        return None
    by_id = queries.with_report(session, project_id, reference)
    if by_id is not None:
        return by_id.id
    if "@" not in reference:
        raise Unacceptable(
            f"the baseline {reference} is no finished audit of this project whose report is still there; "
            "give such an audit's id, or NAME@ALIAS for the last one of that version"
        )
    version = models.resolve_version(session, project_id, reference)
    last = queries.last_with_report(session, project_id, version.id)
    if last is None:
        raise Unacceptable(f"the baseline {reference} has no finished audit; audit that version first")
    return last.id


def _extended(before: Audit, more: resources.Extension) -> dict[str, Any]:
    """The words of the extension: the finished audit's, with its grids written out and the new ones merged in."""
    spec = AuditSpec.model_validate(before.spec)
    grids = {threat.norm: threat for threat in spec.threats}
    for norm, eps in more.eps.items():
        if norm not in grids:
            raise Unacceptable(f"the audit has no {norm} to be extended; it has {', '.join(grids)}")
        grids[norm] = build(Threat, norm=norm, eps=(*grids[norm].eps, *eps))
    if more.examples is not None and more.examples <= spec.examples:
        raise Unacceptable(f"the audit has {spec.examples} examples already; ask for more than those")
    if more.examples is None and tuple(grids.values()) == spec.threats:
        raise Unacceptable("nothing new was asked for; give eps that are not on the grid, or more examples")
    words = {name: value for name, value in before.words.items() if name != "threat"}
    words |= {"norm": list(grids), "eps": [",".join(threat.eps) for threat in grids.values()]}
    return words | {"examples": more.examples or spec.examples}
