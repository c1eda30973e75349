"""The application: the frame and the routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute

import auditor
from auditor import resources
from auditor.api import (
    audits,
    comparison,
    datasets,
    docs,
    events,
    health,
    keys,
    links,
    models,
    problems,
    projects,
    results,
    uploads,
    webhooks,
)
from auditor.api.access import Keyring, RateLimit
from auditor.api.frame import BodyLimit, HostCheck, RequestLog
from auditor.api.watch import Watch
from auditor.operations.metrics import Metrics
from auditor.operations.service import Service

_THREADS = 64  # requests that may wait for the database or the artifact store at once
_REFUSALS = {
    400: "The request is not understood",
    401: "No valid API key",
    403: "The key lacks the scope",
    404: "Not in this project",
    409: "Does not fit the present state",
    410: "Its retention has ended",
    413: "The body is larger than allowed",
    422: "Something in the request is wrong",
    429: "Rate limit or quota",
    500: "A defect of the service",
    503: "Temporarily not available",
}
_ROUTES = (uploads, models, datasets, audits, events, results, comparison, links, webhooks, keys, projects)
_PROBLEM = {"content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, **_PROBLEM} for status, description in _REFUSALS.items()
}


def create_app(service: Service) -> FastAPI:
    """The HTTP interface of a service, as an ASGI application."""
    app = FastAPI(
        title="auditor",
        version=auditor.__version__,
        summary="Attacks uploaded ONNX classifiers and reports how robust they are, and how sure that is",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        lifespan=_lifespan,
    )
    app.state.service, app.state.keyring, app.state.rate_limit = service, Keyring(), RateLimit(service.settings)
    app.state.watch = Watch(service)
    problems.install(app)
    app.add_middleware(BodyLimit, limit=service.settings.max_request_bytes)
    app.add_middleware(HostCheck, settings=service.settings)
    app.add_middleware(RequestLog)
    app.state.metrics = Metrics(service)
    app.add_middleware(health.Measure, metrics=app.state.metrics)
    for routes in _ROUTES:
        app.include_router(routes.router, prefix="/api/v1", responses=_RESPONSES)
    app.include_router(health.router)
    app.include_router(problems.router, responses=_RESPONSES)
    app.include_router(docs.router)
    _describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _operation_id(route: APIRoute) -> str:
    """Short and stable, for generated clients: the tag and the function's name."""
    return f"{route.tags[0] if route.tags else 'service'}-{route.name}"


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI document the schema that all problems share."""
    generate: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", resources.Problem.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]
