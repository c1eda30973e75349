"""A CycloneDX 1.6 ML-BOM (ECMA-424): the model as a component, whose card holds the accuracies with their intervals."""

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from auditor.report.legible import legible_text
from auditor.report.schema import Report


def cyclonedx(report: Report) -> bytes:
    """The bill of materials of one model, JSON."""
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, report.model.sha256 + report.results_sha256).urn,
        "version": 1,
        "metadata": {
            "timestamp": report.audit.finished_at,
            "tools": {"components": [_tool(report)]},
            "component": _model(report),
        },
    }
    return json.dumps(bom, indent=2).encode() + b"\n"


def _tool(report: Report) -> dict[str, Any]:
    return {"type": "application", "name": "auditor", "version": report.audit.versions.get("auditor", "unknown")}


def _model(report: Report) -> dict[str, Any]:
    dataset = report.dataset
    hashes = [{"alg": "SHA-256", "content": report.model.sha256}]
    held = f"sha256 {dataset.sha256}; {report.clean.total} of {dataset.examples} examples were audited"
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model-{report.model.sha256}",
        "name": legible_text(report.model.name),
        "hashes": hashes,
        "modelCard": {
            "modelParameters": {"task": "classification"},
            "quantitativeAnalysis": {"performanceMetrics": list(_metrics(report))},
            "considerations": {
                "technicalLimitations": [legible_text(f"not tested: {sentence}") for sentence in report.not_tested]
            },
        },
        "components": [
            {
                "type": "data",
                "bom-ref": f"dataset-{dataset.sha256}",
                "name": legible_text(dataset.name),
                "hashes": [{"alg": "SHA-256", "content": dataset.sha256}],
                "data": [{"type": "dataset", "name": legible_text(dataset.name), "description": held}],
            }
        ],
        "properties": [
            {"name": "auditor:verdict", "value": report.verdict},
            {"name": "auditor:results_sha256", "value": report.results_sha256},
            {"name": "auditor:spec_sha256", "value": report.audit.spec_sha256},
        ],
    }


def _metrics(report: Report) -> Iterator[dict[str, Any]]:
    clean = report.clean
    yield _metric("accuracy", clean.accuracy, "clean", clean.interval)
    for curve in report.curves:
        for point in curve.points:
            place = f"{curve.norm} eps={point.eps}"
            yield _metric("robust_accuracy", point.robust_accuracy, place, point.interval)
            if point.certified_accuracy is not None:
                yield _metric("certified_accuracy", point.certified_accuracy, place)
    for other in report.other_threats:
        yield _metric("accuracy", other.accuracy, legible_text(str(other.threat["name"])), other.interval)


def _metric(kind: str, value: float, place: str, limits: Sequence[float] | None = None) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": kind, "value": repr(value), "slice": place}
    if limits is not None:
        metric["confidenceInterval"] = {"lowerBound": repr(limits[0]), "upperBound": repr(limits[1])}
    return metric
