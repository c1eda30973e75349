"""Errors as application/problem+json after RFC 9457. The types and what they mean are part of the interface."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from auditor import resources
from auditor.errors import DatasetError, InputError, ModelError, SpecError
from auditor.logs import log
from auditor.operations.errors import Conflict, NotFound, Refused, Unacceptable

MEDIA_TYPE = "application/problem+json"
EXPLAINED = {
    "refused": "The request cannot be carried out as it stands; `detail` says why.",
    "unauthorised": "Send `Authorization: Bearer KEY` with a key that is known, not expired and not revoked.",
    "forbidden": "The key is valid, but lacks the scope that this needs. A project's admin can make another key.",
    "not-found": "Nothing in this project has that name or id. What other projects hold is answered the same way.",
    "method-not-allowed": "The address exists, but not with this method; the header Allow names those that it has.",
    "conflict": "What was asked does not fit the present state, for example deleting what is in use. Nothing was changed.",
    "no-report": "The audit failed or was cancelled, so that it has no report; `bounds` hold what was known of it then.",
    "gone": "It existed, and its retention has ended or it was deleted.",
    "too-large": "The body is larger than this service accepts; `detail` names the limit.",
    "unacceptable": "The request was understood and something in it is wrong; `errors` points at the fields, if fields are at fault.",
    "digest-mismatch": "The bytes that came do not have the declared SHA-256; send them again.",
    "model-refused": "The ONNX file cannot be audited as it is; `detail` says why and what to do.",
    "dataset-refused": "The dataset cannot be read or does not fit the model; `detail` says why and what to do.",
    "spec-refused": "The audit as asked for makes no sense; `detail` names the option and what would be accepted.",
    "quota-exceeded": "The project's quota of bytes, audits or compute is used up. Delete something, wait, or ask the operator.",
    "rate-limited": "Too many requests with one key; wait for the seconds in Retry-After.",
    "host-refused": "The service listens on this machine only and does not answer to the name in the header Host.",
    "internal-error": "Something failed inside the service; the operator finds it in the logs under the request's id.",
    "unavailable": "A part that the service needs, such as its database, does not answer; try again later.",
}
_INPUT = {ModelError: "model-refused", DatasetError: "dataset-refused", SpecError: "spec-refused"}
_TITLES = {413: ("too-large", "The body is larger than allowed"), 405: ("method-not-allowed", "Not with this method")}

router = APIRouter(prefix="/problems", tags=["problems"])


@router.get("/{name}", summary="What a type of problem means")
def explain(name: str) -> dict[str, str]:
    if name not in EXPLAINED:
        raise NotFound(f"there is no type of problem '{name}'")
    return {"type": f"/problems/{name}", "meaning": EXPLAINED[name]}


def problem(
    status: int,
    name: str,
    title: str,
    detail: str,
    *,
    instance: str | None = None,
    errors: Sequence[dict[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response. name: a key of EXPLAINED; instance: what the problem is about, such as a path."""
    body = resources.Problem(
        type=f"/problems/{name}", title=title, status=status, detail=detail, instance=instance, errors=list(errors)
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, dict(headers or {}), media_type=MEDIA_TYPE)


def internal(instance: str, request_id: str) -> JSONResponse:
    """The answer to a defect of ours: an id that finds it in the logs, and nothing of the inside."""
    detail = f"Something failed inside the service. The logs have it under the request's id {request_id}."
    return problem(500, "internal-error", "The service failed", detail, instance=instance)


def install(app: FastAPI) -> None:
    """Every error of the application becomes a problem."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(InputError, _unacceptable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_router)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(IntegrityError, _overtaken)
    app.add_exception_handler(OperationalError, _unavailable)
    app.add_exception_handler(NoConnectionLeft, _unavailable)
    app.add_exception_handler(ClientDisconnect, _disconnected)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return problem(
        error.status, error.type, error.title, str(error), instance=request.url.path, headers=error.headers
    )


def _unacceptable(request: Request, error: Exception) -> JSONResponse:
    name = next((name for kind, name in _INPUT.items() if isinstance(error, kind)), "unacceptable")
    return problem(422, name, "The input is not acceptable", str(error), instance=request.url.path)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"in": str(entry["loc"][0]), "pointer": _pointer(entry["loc"][1:]), "detail": str(entry["msg"])}
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry['in']} {entry['pointer']}: {entry['detail']}" for entry in errors)
    return problem(
        422,
        "unacceptable",
        "The input is not acceptable",
        detail,
        instance=request.url.path,
        errors=jsonable_encoder(errors),
    )


def _pointer(path: Sequence[object]) -> str:
    """A JSON pointer after RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _of_router(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return problem(404, NotFound.type, NotFound.title, f"there is nothing at {path}", instance=path)
    detail, headers = str(error.detail), error.headers
    if error.status_code == 405:
        detail = f"{path} does not take {request.method}; the header Allow names what it takes"
        headers = {"Allow": ", ".join(_methods(request))}
    name, title = _TITLES.get(error.status_code, ("refused", HTTPStatus(error.status_code).phrase))
    return problem(error.status_code, name, title, detail, instance=path, headers=headers)


def _methods(request: Request) -> list[str]:
    """What all routes of the path take together; the router itself names only the first one's."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _unstorable(request: Request, error: Exception) -> JSONResponse:
    detail = "a text or number in the request cannot be stored: a NUL character, or too large"
    return problem(422, Unacceptable.type, Unacceptable.title, detail, instance=request.url.path)


def _overtaken(request: Request, error: Exception) -> JSONResponse:
    """A row that was there when it was looked for is gone when another is to refer to it."""
    log.warning("request overtaken", path=request.url.path, error=str(error))
    detail = "what this needs was deleted or changed at the same moment; nothing was done, look again"
    return problem(409, Conflict.type, Conflict.title, detail, instance=request.url.path)


def _unavailable(request: Request, error: Exception) -> JSONResponse:
    log.error("database failed", path=request.url.path, error=str(error))
    detail = "the database did not answer in time; nothing was changed, try again"
    headers = {"Retry-After": "5"}
    return problem(
        503, "unavailable", "Temporarily not available", detail, instance=request.url.path, headers=headers
    )


def _disconnected(request: Request, error: Exception) -> JSONResponse:
    """Nobody hears this answer; the status is for the log."""
    detail = "the connection was closed before the body had come"
    return problem(400, Refused.type, Refused.title, detail, instance=request.url.path)
