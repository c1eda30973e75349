"""The routes for people: one page without scripts, made from the OpenAPI document."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(tags=["docs"])
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code{font-size:.95em}h2{margin-top:2.5rem}dt{margin-top:1.2rem}dd{margin-left:1.5rem}li{margin:.2rem 0}"
)


@router.get("/api/v1/docs", response_class=HTMLResponse, summary="This description, to be read")
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(_page(request.app.openapi()), headers={"Content-Security-Policy": _POLICY})


def _page(document: dict[str, Any]) -> str:
    info = document["info"]
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            sections.setdefault(route.get("tags", ["service"])[0], []).append(_route(method, path, route))
    body = "".join(f"<h2>{escape(tag)}</h2><dl>{''.join(routes)}</dl>" for tag, routes in sections.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}: HTTP interface</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['summary'])}.</p><p>Send <code>Authorization: Bearer KEY</code>. Errors are "
        "<code>application/problem+json</code>; <code>type</code> is an address that explains the error. For programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{body}</html>'
    )


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    scopes = " or ".join(scope for need in route.get("security", []) for held in need.values() for scope in held)
    words = [
        f"<li><code>{escape(word['name'])}</code> ({escape(word['in'])}{', required' if word.get('required') else ''})"
        f" {escape(word.get('description', ''))}</li>"
        for word in route.get("parameters", [])
    ]
    return (
        f"<dt><code>{method.upper()} {escape(path)}</code></dt><dd>{escape(route.get('summary', ''))}."
        f"{'<br>' + escape(route['description']) if 'description' in route else ''}"
        f"{'<br>Scope: <code>' + escape(scopes) + '</code>' if scopes else ''}<ul>{''.join(words)}</ul></dd>"
    )
