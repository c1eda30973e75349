"""From a report to the document that HTML and PDF are made of."""

from auditor.report import exhibits as pictures
from auditor.report.blocks import Document
from auditor.report.exhibits import Exhibits
from auditor.report.focus import headline
from auditor.report.legible import legible
from auditor.report.schema import Report
from auditor.report.sections import (
    attacks,
    classes,
    curves,
    diagnosis,
    distances,
    mapping,
    others,
    remedies,
    reproduce,
    summary,
)


def compose(report: Report, exhibits: Exhibits | None = None) -> Document:
    """The whole document. exhibits: examples that may be shown; None leaves the users' data out."""
    said, tone, reason = headline(report)
    sections = (
        summary.section(report),
        curves.section(report),
        classes.section(report),
        distances.section(report),
        None if exhibits is None else pictures.section(exhibits),
        others.section(report),
        diagnosis.section(report),
        attacks.section(report),
        remedies.section(report),
        mapping.section(report),
        reproduce.section(report),
    )
    document = Document(
        title=f"Robustness of {report.model.name}",
        subtitle=f"audited on {report.dataset.name}, {report.audit.finished_at[:10]}",
        headline=said,
        tone=tone,
        reason=reason,
        sections=tuple(section for section in sections if section is not None),
        footer=f"auditor {report.audit.versions.get('auditor', '')} · audit {report.audit.id} · results {report.results_sha256[:16]}",
    )
    return legible(document)
