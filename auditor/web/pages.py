"""How a page is made: templates, the error pages, and the headers that every page carries."""

from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from auditor.api.problems import EXPLAINED
from auditor.errors import InputError
from auditor.operations.errors import Refused
from auditor.report.html import environment
from auditor.report.legible import legible_text
from auditor.report.numbers import count, duration, interval, percent, size
from auditor.web import static
from auditor.web.session import SignInFirst, Visitor

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Page(APIRoute):
    """A route for people: what it refuses is said on a page, and who is not signed in is led to where they can."""

    def get_route_handler(self) -> _Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except SignInFirst:
                response = _to_sign_in(request)
            except Refused as error:
                response = _refusal(request, error.status, error.title, str(error), EXPLAINED.get(error.type, ""))
                response.headers.update(error.headers)
            except InputError as error:
                response = _refusal(request, 422, "The input is not acceptable", str(error))
            except RequestValidationError as error:
                said = "; ".join(f"{entry['loc'][-1]}: {entry['msg']}" for entry in error.errors())
                response = _refusal(request, 422, "The address is not understood", said)
            except HTTPException as error:
                response = _refusal(
                    request, error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail)
                )
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer


def pages() -> APIRouter:
    """For pages: outside the documented interface."""
    return APIRouter(route_class=Page, include_in_schema=False)


def render(
    request: Request, visitor: Visitor | None, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page, or a part of one. visitor: None for who has not signed in; values: what the template names."""
    html = templates().get_template(template).render(request=request, visitor=visitor, **values)
    return HTMLResponse(html, status)


def go(path: str, **query: str) -> RedirectResponse:
    """To another page, after a form was carried out."""
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)


def part(text: str) -> str:
    """A name as a part of an address."""
    return quote(text, safe="")


@cache
def templates() -> Any:
    made = environment("auditor.web", "auditor.report")
    made.finalize = _shown
    made.globals["address_of"] = static.address_of
    made.filters |= {
        "percent": percent,
        "interval": interval,
        "distance": size,
        "count": count,
        "duration": duration,
        "part": part,
        "bytes": _bytes,
        "moment": lambda time: "–" if time is None else f"{time:%Y-%m-%d %H:%M}",
    }
    return made


def _shown(value: Any) -> Any:
    """Users' text without what reorders or hides other text; escaping comes after it."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(map(legible_text, value.split("\n")))
    return value


def _bytes(number: int) -> str:
    """As 1.2 MB."""
    amount, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _refusal(request: Request, status: int, title: str, detail: str, advice: str = "") -> Response:
    return render(request, None, "refusal.html", status, title=title, detail=detail, advice=advice)


def _to_sign_in(request: Request) -> Response:
    """A part of a page cannot be led elsewhere by a redirect, which the browser would follow for the part alone."""
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": "/sign-in"})
    query = f"?{request.url.query}" if request.url.query else ""
    return go("/sign-in", next=f"{request.url.path}{query}" if request.method == "GET" else "/")
