"""From a report to the document that HTML and PDF are made of."""

from collections.abc import Callable, Collection

from auditor.report import exhibits as pictures
from auditor.report.blocks import Document, Section
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
    labels,
    mapping,
    others,
    remedies,
    reproduce,
    summary,
)

_SECTIONS: dict[str, Callable[[Report], Section | None]] = {
    "summary": summary.section,
    "curves": curves.section,
    "classes": classes.section,
    "labels": labels.section,
    "distances": distances.section,
    "others": others.section,
    "diagnosis": diagnosis.section,
    "attacks": attacks.section,
    "remedies": remedies.section,
    "mapping": mapping.section,
    "reproduce": reproduce.section,
}
_BEFORE_EXHIBITS = "distances"


def compose(report: Report, exhibits: Exhibits | None = None, *, only: Collection[str] = _SECTIONS) -> Document:
    """The document. exhibits: examples that may be shown, None leaves the users' data out; only: names of sections."""
    said, tone, reason = headline(report)
    made = [make(report) for name, make in _SECTIONS.items() if name in only]
    if exhibits is not None:
        made.insert(list(_SECTIONS).index(_BEFORE_EXHIBITS) + 1, pictures.section(exhibits))
    document = Document(
        title=f"Robustness of {report.model.name}",
        subtitle=f"audited on {report.dataset.name}, {report.audit.finished_at[:10]}",
        headline=said,
        tone=tone,
        reason=reason,
        sections=tuple(section for section in made if section is not None),
        footer=f"auditor {report.audit.versions.get('auditor', '')} · audit {report.audit.id} · results {report.results_sha256[:16]}",
    )
    return legible(document)
