"""The report for people: report.html and report.pdf."""

import datetime
from pathlib import Path

from auditor.audits.atomic import replacing
from auditor.report.compose import compose
from auditor.report.drawing import drawings
from auditor.report.exhibits import Exhibits
from auditor.report.html import html
from auditor.report.pdf import pdf
from auditor.report.schema import Report


def write_pages(folder: Path, report: Report, exhibits: Exhibits | None) -> None:
    """Both files, each whole or not at all. exhibits: examples that may be shown, None for none."""
    document = compose(report, exhibits)
    drawn = drawings(document)
    with replacing(folder / "report.html") as file:
        file.write(html(document, drawn).encode())
    with replacing(folder / "report.pdf") as file:
        file.write(pdf(document, drawn, datetime.datetime.fromisoformat(report.audit.finished_at)))
