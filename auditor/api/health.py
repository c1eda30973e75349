"""What machines ask of the service: whether it lives, whether it can work, which version it is, its figures."""

import secrets
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import auditor
from auditor.api.access import ServiceDep
from auditor.operations import health
from auditor.operations.errors import Unauthorised
from auditor.operations.metrics import Metrics
from auditor.resources import Resource

# Outside the documented interface: addresses for probes and scrapers, without keys, limits or versions.
router = APIRouter(tags=["health"], include_in_schema=False)


class Readiness(Resource):
    """state: down when requests would fail, degraded when nothing would be audited."""

    state: Literal["ok", "degraded", "down"]
    parts: dict[str, str]


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:  # needs no thread: however busy the process is, it is not restarted for that
    return {"state": "ok"}


@router.get("/readyz", summary="Whether the service can do its work")
def readyz(service: ServiceDep, response: Response) -> Readiness:
    found = health.ready(service)
    response.status_code = 503 if found.state == "down" else 200
    return Readiness(state=found.state, parts=found.parts)


@router.get("/version", summary="Which version this is")
def version() -> dict[str, str]:
    return {"version": auditor.__version__}


@router.get("/metrics", summary="Figures in Prometheus' format")
def metrics(request: Request, service: ServiceDep, authorization: Annotated[str, Header()] = "") -> Response:
    wanted = service.settings.metrics_key
    if wanted and not secrets.compare_digest(authorization.encode(), f"Bearer {wanted}".encode()):
        raise Unauthorised(
            "figures are given to holders of AUDITOR_METRICS_KEY; send it as 'Authorization: Bearer KEY'"
        )
    figures: Metrics = request.app.state.metrics
    return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)


class Measure:
    """Counts and times every request, by the template of its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            self._metrics.answered(scope["method"], _template(scope), status, time.perf_counter() - started)


def _template(scope: Scope) -> str:
    """The path as its route was declared; requests that fit no route share one. A route of an included router knows
    the path without the router's prefix, which is what the request's path begins with."""
    declared = getattr(scope.get("route"), "path_format", None)
    if declared is None:
        return "none"
    own = str(declared).format(**scope["path_params"])
    prefix = scope["path"].removesuffix(own) if scope["path"].endswith(own) else ""
    return f"{prefix}{declared}"
