"""A document as one HTML file: no scripts, nothing fetched, light and dark.

Every text is escaped. A content security policy in the file forbids scripts and the network even if something slipped
through.
"""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from auditor.report import blocks
from auditor.report.blocks import Document
from auditor.report.drawing import recoloured

FAMILY = "system-ui, sans-serif"


def html(document: Document, drawings: Mapping[str, str]) -> str:
    """The whole page. drawings: the figures' SVG by name."""
    shown = {name: recoloured(drawing, family=FAMILY) for name, drawing in drawings.items()}
    return str(_template().render(document=document, drawings=shown))


@cache
def _template() -> Any:
    return environment("auditor.report").get_template("report.html")


def environment(*packages: str) -> Any:
    """Templates of these packages that can show blocks (blocks.html)."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.tests["kind"] = lambda block, name: type(block) is getattr(blocks, name)
    environment.filters["base64"] = lambda data: Markup(base64.b64encode(data).decode())
    return environment
