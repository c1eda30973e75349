"""What happens to an audit, as it happens: server-sent events, or a page of them."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.watch import Watch, WatchDep
from auditor.operations import audits
from auditor.operations.access import Caller
from auditor.operations.audits import News
from auditor.operations.errors import NotFound
from auditor.operations.service import Service
from auditor.operations.times import moment
from auditor.store.tables import Event

router = APIRouter(prefix="/audits/{audit_id}", tags=["audits"])

_HEARTBEAT_SECONDS = 15.0
_PAGE = 1000
_SENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The event's number"},
        "event": {"type": "string", "description": "Its type"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "The whole Event"},
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": resources.Page[resources.Event],
        "content": {"text/event-stream": {"itemSchema": _SENT}},
        "description": "A stream that ends after the audit's last event, or a page where the caller accepts only JSON",
    },
    204: {"description": "A stream would hold nothing: the audit has ended, and its last event is known"},
}
Number = Annotated[int | None, Query(ge=0, le=1 << 62, description="The number of the last event that is known")]
LastEventId = Annotated[int | None, Header(ge=0, le=1 << 62, description="The same, as browsers send it")]


@router.get("/events", response_class=Response, responses=_ANSWERS, summary="Follow an audit")
async def follow(
    audit_id: str,
    caller: Annotated[Caller, needs("audits:read")],
    service: ServiceDep,
    watch: WatchDep,
    after: Number = None,
    last_event_id: LastEventId = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE, description="Of a page: how many at most")] = _PAGE,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Events are numbered from 1 without gaps, so that a reader that lost its connection goes on where it was. A page's
    `next` is the `after` of the next one."""
    known = after if after is not None else last_event_id or 0
    paged = "application/json" in accept and "text/event-stream" not in accept
    news = await run_in_threadpool(
        audits.news, service, caller.project_id, audit_id, after=known, limit=limit if paged else _PAGE
    )
    if paged:
        return _page(news)
    if news.known.ended and not news.events:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_stream(service, watch, caller.project_id, news, known), headers=headers)


async def _stream(service: Service, watch: Watch, project_id: str, news: News, number: int) -> AsyncIterator[bytes]:
    audit_id = news.known.listed.audit.id
    while True:
        for event in news.events:
            number = event.number
            data = _shown(event).model_dump_json()
            yield format_sse_event(data_str=data, event=event.type, id=str(number))
        if not news.more:
            if news.known.ended:
                return
            while not await watch.changed(audit_id, news.known.sign, _HEARTBEAT_SECONDS):
                yield KEEPALIVE_COMMENT
        try:
            news = await run_in_threadpool(audits.news, service, project_id, audit_id, after=number, limit=_PAGE)
        except NotFound:  # deleted: nothing more will happen to it
            return


def _page(news: News) -> Response:
    after = str(news.events[-1].number) if news.more else None
    page = resources.Page(items=[_shown(event) for event in news.events], next=after)
    return Response(page.model_dump_json(), media_type="application/json")


def _shown(event: Event) -> resources.Event:
    return resources.Event(number=event.number, type=event.type, data=event.data, at=moment(event.at))
