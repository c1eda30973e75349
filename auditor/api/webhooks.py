"""Webhooks over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Response

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.pages import Cursor, Limit, page
from auditor.operations import webhooks
from auditor.operations.access import Caller
from auditor.operations.times import moment
from auditor.store.tables import Delivery, Webhook

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
Reader = Annotated[Caller, needs("webhooks:read")]
Writer = Annotated[Caller, needs("webhooks:write")]


@router.post("", status_code=201, summary="Be told when audits end")
def create(new: resources.NewWebhook, caller: Writer, service: ServiceDep, response: Response) -> resources.Webhook:
    """The answer holds the secret that messages are signed with; it is shown this once."""
    made = webhooks.create(service, caller.project_id, new)
    response.headers["Location"] = f"/api/v1/webhooks/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return shown(made, made.secret)


@router.get("", summary="The project's webhooks")
def listed(caller: Reader, service: ServiceDep) -> resources.Page[resources.Webhook]:
    return resources.Page(items=[shown(row) for row in webhooks.listed(service, caller.project_id)])


@router.get("/{webhook_id}", summary="One webhook")
def show(webhook_id: str, caller: Reader, service: ServiceDep) -> resources.Webhook:
    return shown(webhooks.show(service, caller.project_id, webhook_id))


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook and what waits for it")
def delete(webhook_id: str, caller: Writer, service: ServiceDep) -> None:
    webhooks.delete(service, caller.project_id, webhook_id)


@router.post("/{webhook_id}/test", status_code=202, summary="Send a message of the type webhook.test")
def test(webhook_id: str, caller: Writer, service: ServiceDep) -> resources.Delivery:
    """The message is on its way; what became of it is among the deliveries."""
    return sent(webhooks.send_test(service, caller.project_id, webhook_id))


@router.get("/{webhook_id}/deliveries", summary="What was sent, newest first")
def deliveries(
    webhook_id: str, caller: Reader, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Delivery]:
    rows = webhooks.deliveries(service, caller.project_id, webhook_id, cursor, limit + 1)
    return page([sent(row) for row in rows], limit)


def shown(row: Webhook, secret: str | None = None) -> resources.Webhook:
    return resources.Webhook(
        id=row.id,
        url=row.url,
        events=row.events,
        secret=secret,
        disabled_at=moment(row.disabled_at),
        reason=row.reason,
        created_at=moment(row.created_at),
    )


def sent(row: Delivery) -> resources.Delivery:
    return resources.Delivery(
        id=row.id,
        type=row.type,
        state=row.state,
        attempt=row.attempt,
        status=row.status,
        error=row.error,
        created_at=moment(row.created_at),
        delivered_at=moment(row.delivered_at),
    )
