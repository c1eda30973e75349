"""Whether the attacks can be trusted on this model."""

from auditor.report.blocks import Block, Paragraph, Section, Table
from auditor.report.schema import Report

_ORDER = ("error", "warning", "info")


def section(report: Report) -> Section:
    checks = sorted(report.diagnosis.checks, key=lambda check: _ORDER.index(check.severity))
    doubts = sum(check.severity != "info" for check in checks)
    said = (
        f"{doubts} of {len(checks)} checks raise a doubt: a gate that would pass is inconclusive."
        if doubts
        else f"None of {len(checks)} checks raises a doubt. That is no proof that the attacks see everything."
    )
    rows = tuple((check.severity, check.check, check.message) for check in checks)
    blocks: list[Block] = [Paragraph(said), Table(("severity", "check", "finding"), rows)]
    return Section("diagnosis", "Diagnosis: can the attacks be trusted here?", tuple(blocks))
