"""The stored report of an audit, as the page shows it."""

from dataclasses import dataclass
from functools import lru_cache

from auditor.operations import results
from auditor.operations.service import Service
from auditor.report.blocks import Document
from auditor.report.compose import compose
from auditor.report.schema import Report
from auditor.store.artifacts import Artifacts, blob_key

_SHOWN = ("summary", "curves", "others", "diagnosis", "attacks")


@dataclass(frozen=True)
class Read:
    report: Report
    document: Document


def of(service: Service, project_id: str, audit_id: str) -> Read:
    """Raises NotFound, NotDone, and Gone when the report's retention has ended."""
    stored = results.file(service, project_id, audit_id, "report")
    return _read(service.artifacts, str(stored.sha256))


@lru_cache(maxsize=16)
def _read(artifacts: Artifacts, sha256: str) -> Read:
    """By the digest of the report, which never changes."""
    report = Report.model_validate_json(artifacts.read(blob_key(sha256)))
    return Read(report, compose(report, only=_SHOWN))
