"""Where the parts of a report belong in published frameworks."""

from auditor.report.blocks import Paragraph, Section, Table
from auditor.report.mappings import mappings
from auditor.report.schema import Report


def section(report: Report) -> Section:
    rows = tuple((m.framework, m.reference, m.part, m.says) for m in mappings(report))
    said = (
        "What was done here maps to the following. That is an aid for those who file the report: it does not say that the "
        "model, or this audit, complies with any of them."
    )
    table = Table(("framework", "maps to", "part of this report", "what it holds"), rows)
    return Section("mapping", "Frameworks", (Paragraph(said), table))
