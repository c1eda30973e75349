"""The page and the paper, made anew from report.json: without examples of the data, which it does not hold."""

import datetime

from auditor.report.schema import Report


def as_html(report: Report) -> bytes:
    """One self-contained file; see `report.html`."""
    from auditor.report.compose import compose
    from auditor.report.drawing import drawings
    from auditor.report.html import html

    document = compose(report)
    return html(document, drawings(document)).encode()


def as_pdf(report: Report) -> bytes:
    """A tagged PDF; see `report.pdf`."""
    from auditor.report.compose import compose
    from auditor.report.drawing import drawings
    from auditor.report.pdf import pdf

    document = compose(report)
    return pdf(document, drawings(document), datetime.datetime.fromisoformat(report.audit.finished_at))
