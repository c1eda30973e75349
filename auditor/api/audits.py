"""Audits: asked for, looked at, waited for, extended, cancelled, deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.pages import Cursor, Limit, page
from auditor.api.problems import problem
from auditor.api.watch import Watch, WatchDep
from auditor.operations import audits, create, deletion
from auditor.operations.access import Caller
from auditor.operations.audits import Known
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.spec import spec_sha256

router = APIRouter(prefix="/audits", tags=["audits"])
Reader = Annotated[Caller, needs("audits:read")]
Writer = Annotated[Caller, needs("audits:write")]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="Sent again with it, a request is carried out once")
]
Name = Annotated[str | None, Query(max_length=200)]

_SETTLING_SECONDS = 10.0
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": resources.Audit, "description": "A stored report answers it"},
    201: {"model": resources.Audit, "description": "Settled, and waiting for a worker"},
    202: {"model": resources.Audit, "description": "Still being settled"},
}
_REFUSALS = {"ModelError": "model-refused", "DatasetError": "dataset-refused", "SpecError": "spec-refused"}


@router.post("", status_code=201, response_model=resources.Audit, responses=_ANSWERS, summary="Ask for an audit")
async def ask(
    body: resources.NewAudit,
    caller: Writer,
    service: ServiceDep,
    watch: WatchDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answers when everything that was left open is settled, with what was chosen and an estimate of the cost, or
    after ten seconds."""
    audit_id = await run_in_threadpool(create.create, service, caller.project_id, body, idempotency_key)
    return await _settled(service, watch, caller.project_id, audit_id)


@router.post(
    "/{audit_id}/extend",
    status_code=201,
    response_model=resources.Audit,
    responses=_ANSWERS,
    summary="Audit again with more epsilons or examples",
)
async def extend(
    audit_id: str,
    body: resources.Extension,
    caller: Writer,
    service: ServiceDep,
    watch: WatchDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new audit, which goes on from what the finished one has found where the examples are the same."""
    new_id = await run_in_threadpool(create.extend, service, caller.project_id, audit_id, body, idempotency_key)
    return await _settled(service, watch, caller.project_id, new_id)


@router.get("", summary="List audits, newest first")
def index(
    caller: Reader,
    service: ServiceDep,
    state: resources.AuditState | None = None,
    model: Name = None,
    dataset: Name = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> resources.Page[resources.Audit]:
    found = audits.page(
        service, caller.project_id, state=state, model=model, dataset=dataset, before=cursor, limit=limit + 1
    )
    return page([shown(known) for known in found], limit)


@router.get("/{audit_id}", summary="Look at an audit, or wait for news of it")
async def show(
    audit_id: str,
    caller: Reader,
    service: ServiceDep,
    watch: WatchDep,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for a change, unless it has ended")] = 0,
) -> resources.Audit:
    known = await run_in_threadpool(audits.show, service, caller.project_id, audit_id)
    if wait and not known.ended and await watch.changed(audit_id, known.sign, wait):
        known = await run_in_threadpool(audits.show, service, caller.project_id, audit_id)
    return shown(known)


@router.post("/{audit_id}/cancel", summary="Cancel an audit")
def cancel(audit_id: str, caller: Writer, service: ServiceDep) -> resources.Audit:
    """It is `cancelling` until nothing of it runs any more, which takes seconds. What was found stays, as bounds."""
    audits.cancel(service, caller.project_id, audit_id)
    return shown(audits.show(service, caller.project_id, audit_id))


@router.delete("/{audit_id}", status_code=204, summary="Delete an audit and everything that it found")
def delete(audit_id: str, caller: Writer, service: ServiceDep) -> None:
    deletion.delete_audit(service, caller.project_id, audit_id)


def shown(known: Known) -> resources.Audit:
    """An audit as it travels."""
    listed, audit = known.listed, known.listed.audit
    return resources.Audit(
        id=audit.id,
        state=audit.state,  # type: ignore[arg-type]
        model=listed.model,
        version=listed.version,
        dataset=listed.dataset,
        preset=(audit.spec or audit.words).get("preset"),
        chosen=audit.chosen or [],
        spec=audit.spec,
        spec_sha256=None if audit.spec is None else spec_sha256(audit.spec),
        subject_sha256=audit.subject_sha256,
        estimate=audit.estimate,
        progress=audits.progress(listed),
        bounds=list(known.bounds),
        problem=audit.problem,
        stopped=audit.stopped,
        verdict=audit.verdict,
        summary=(audit.facts or {}).get("summary"),
        results_sha256=audit.results_sha256,
        extends=audit.extends_id,
        seconds=audit.seconds,
        priority=audit.priority,
        created_at=moment(audit.created_at),
        started_at=moment(audit.started_at),
        finished_at=moment(audit.finished_at),
    )


async def _settled(service: Service, watch: Watch, project_id: str, audit_id: str) -> Response:
    """The answer to who asked for an audit: what it was settled to, why it was refused, or that it takes longer."""
    known = await run_in_threadpool(audits.show, service, project_id, audit_id)
    if known.listed.audit.state == "settling":
        await watch.changed(audit_id, known.sign, _SETTLING_SECONDS)
        known = await run_in_threadpool(audits.show, service, project_id, audit_id)
    headers = {"Location": f"/api/v1/audits/{audit_id}"}
    audit = known.listed.audit
    if audit.problem is not None:
        kind = _REFUSALS.get(audit.problem["type"], "unacceptable")
        detail = audit.problem["detail"]
        return problem(422, kind, "The audit was refused", detail, instance=headers["Location"], headers=headers)
    status = {"settling": 202, "done": 200}.get(audit.state, 201)
    body = shown(known).model_dump_json()
    return Response(body, status, headers, media_type="application/json")
