"""The page's style and scripts: files that browsers keep until they change."""

import hashlib
from functools import cache
from importlib import resources

from fastapi import APIRouter, Response

from auditor.operations.errors import NotFound

router = APIRouter(include_in_schema=False)
_FOREVER = "public, max-age=31536000, immutable"
_PLACES = {
    "page.css": (("auditor.report", "templates/report.css"), ("auditor.web", "static/page.css")),
    "htmx.min.js": (("auditor.web", "static/htmx.min.js"),),
    "vega.min.js": (("auditor.web", "static/vega.min.js"),),
    "vega-embed.min.js": (("auditor.web", "static/vega-embed.min.js"),),
    "charts.js": (("auditor.web", "static/charts.js"),),
    "icon.svg": (("auditor.web", "static/icon.svg"),),
}
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@router.get("/static/{name}")
def file(name: str) -> Response:
    if name not in _PLACES:
        raise NotFound(f"there is nothing at /static/{name}")
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(content(name), media_type=kind, headers={"Cache-Control": _FOREVER})


def address_of(name: str) -> str:
    """Where a file is found; another address when it has changed."""
    return f"/static/{name}?{hashlib.sha256(content(name)).hexdigest()[:12]}"


@cache
def content(name: str) -> bytes:
    """The page has the report's style, and its own on top."""
    return b"".join(resources.files(package).joinpath(path).read_bytes() for package, path in _PLACES[name])
