"""Webhooks of the project, and what was sent to them."""

from typing import Annotated, get_args

from fastapi import Request, Response
from pydantic import ValidationError

from auditor import resources
from auditor.api.webhooks import sent, shown
from auditor.operations import webhooks
from auditor.operations.errors import Unacceptable
from auditor.web.pages import go, pages, render
from auditor.web.session import Visitor, needs

router = pages()
Reader = Annotated[Visitor, needs("webhooks:read")]
Writer = Annotated[Visitor, needs("webhooks:write")]

_DELIVERIES = 10


@router.get("/webhooks")
def index(request: Request, visitor: Reader) -> Response:
    return _list(request, visitor)


@router.post("/webhooks")
def create(request: Request, visitor: Writer) -> Response:
    """The answer shows the secret, this once."""
    try:
        new = resources.NewWebhook.model_validate({"url": visitor.said("url"), "events": visitor.ticked("events")})
    except ValidationError as error:
        raise Unacceptable(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
    made = webhooks.create(visitor.service, visitor.project_id, new)
    return _list(request, visitor, made=shown(made, made.secret))


@router.post("/webhooks/{webhook_id}/test")
def test(visitor: Writer, webhook_id: str) -> Response:
    webhooks.send_test(visitor.service, visitor.project_id, webhook_id)
    return go("/webhooks")


@router.post("/webhooks/{webhook_id}/delete")
def delete(visitor: Writer, webhook_id: str) -> Response:
    webhooks.delete(visitor.service, visitor.project_id, webhook_id)
    return go("/webhooks")


def _list(request: Request, visitor: Visitor, made: resources.Webhook | None = None) -> Response:
    service, project_id = visitor.service, visitor.project_id
    hooks = [shown(row) for row in webhooks.listed(service, project_id)]
    sendings = {
        hook.id: [sent(row) for row in webhooks.deliveries(service, project_id, hook.id, None, _DELIVERIES)]
        for hook in hooks
    }
    events = get_args(resources.WebhookEvent)
    return render(request, visitor, "webhooks.html", hooks=hooks, sendings=sendings, made=made, events=events)
