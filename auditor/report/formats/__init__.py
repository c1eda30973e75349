"""The report in the formats that other tools read: each a function from a report to bytes.

Equal reports give equal bytes. Names that users chose are made legible first (see `report.legible`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from auditor.errors import SpecError
from auditor.report.checker import checker
from auditor.report.formats.cyclonedx import cyclonedx
from auditor.report.formats.in_toto import MEDIA_TYPE, in_toto
from auditor.report.formats.junit import junit
from auditor.report.formats.markdown import markdown
from auditor.report.formats.mlflow import mlflow
from auditor.report.formats.model_index import model_index
from auditor.report.formats.pages import as_html, as_pdf
from auditor.report.formats.sarif import sarif
from auditor.report.formats.tables import as_csv, as_parquet
from auditor.report.schema import Report


@dataclass(frozen=True)
class Format:
    """suffix: how a file's name ends, after report. ; what: a line for a list of formats."""

    suffix: str
    media_type: str
    what: str
    write: Callable[[Report], bytes]


FORMATS: dict[str, Format] = {
    "html": Format("html", "text/html; charset=utf-8", "the page, without examples of the data", as_html),
    "pdf": Format("pdf", "application/pdf", "the paper, without examples of the data", as_pdf),
    "csv": Format("csv", "text/csv; charset=utf-8", "each example's outcome per norm", as_csv),
    "parquet": Format("parquet", "application/vnd.apache.parquet", "the same as Parquet", as_parquet),
    "junit": Format("junit.xml", "application/xml", "JUnit XML, a test case per gate", junit),
    "sarif": Format("sarif", "application/sarif+json", "SARIF 2.1.0, a result per failed gate", sarif),
    "cyclonedx": Format("cdx.json", "application/vnd.cyclonedx+json", "CycloneDX 1.6 ML-BOM", cyclonedx),
    "in-toto": Format("intoto.json", MEDIA_TYPE, "in-toto test-result statement", in_toto),
    "model-index": Format("model-index.yaml", "application/yaml", "model-index of a model card", model_index),
    "markdown": Format("md", "text/markdown; charset=utf-8", "a summary for a pipeline's run", markdown),
    "checker": Format("check.py", "text/x-python; charset=utf-8", "a script that re-checks adversarial.npz", checker),
    "mlflow": Format("mlflow.json", "application/json", "params, metrics and tags of an MLflow run", mlflow),
}


def format_named(name: str) -> Format:
    """SpecError for a name that is none."""
    if name not in FORMATS:
        raise SpecError(f"there is no format '{name}'; choose from {', '.join(FORMATS)}")
    return FORMATS[name]
