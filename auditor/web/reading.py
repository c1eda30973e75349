"""The stored report of an audit, as the page shows it."""

from dataclasses import dataclass, replace
from functools import lru_cache

from auditor.operations import results
from auditor.operations.service import Service
from auditor.report.blocks import Document, figures_of
from auditor.report.compose import compose
from auditor.report.schema import Report
from auditor.store.artifacts import Artifacts, blob_key
from auditor.web.charts import Drawn, drawn

_SHOWN = ("summary", "curves", "others", "diagnosis", "attacks")


@dataclass(frozen=True)
class Read:
    report: Report
    document: Document
    drawn: Drawn


def of(service: Service, project_id: str, audit_id: str) -> Read:
    """Raises NotFound, NotDone, and Gone when the report's retention has ended."""
    stored = results.file(service, project_id, audit_id, "report")
    return _read(service.artifacts, str(stored.sha256))


@lru_cache(maxsize=16)
def _read(artifacts: Artifacts, sha256: str) -> Read:
    """By the digest of the report, which never changes."""
    report = Report.model_validate_json(artifacts.read(blob_key(sha256)))
    whole = compose(report)
    document = replace(whole, sections=tuple(section for section in whole.sections if section.name in _SHOWN))
    return Read(report, document, drawn(figures_of(document)))
