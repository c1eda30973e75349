"""An audit as params, metrics and tags of an MLflow run: the body of `runs/log-batch`, without the run's id.

Names hold only what MLflow allows (letters, digits, _ - . / and spaces); a metric's step is its place on the grid of eps.
"""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

from auditor.report.legible import legible_text
from auditor.report.schema import Report

_LONGEST = 500  # characters of a value, which every version of MLflow takes


def mlflow(report: Report) -> bytes:
    """JSON: {"params": […], "metrics": […], "tags": […]}."""
    return json.dumps(batch(report), indent=2).encode() + b"\n"


def batch(report: Report) -> dict[str, list[dict[str, Any]]]:
    """The same as a value."""
    moment = round(datetime.datetime.fromisoformat(report.audit.finished_at).timestamp() * 1000)
    return {
        "params": _entries(_params(report)),
        "metrics": [
            {"key": key, "value": value, "timestamp": moment, "step": step} for key, value, step in _metrics(report)
        ],
        "tags": _entries(_tags(report)),
    }


def _params(report: Report) -> dict[str, str]:
    audit = report.audit
    return {
        "preset": audit.preset,
        "seed": str(audit.seed),
        "examples": str(report.clean.total),
        **{f"eps.{curve.norm}": ",".join(point.eps for point in curve.points) for curve in report.curves},
    }


def _tags(report: Report) -> dict[str, str]:
    return {
        "auditor.verdict": report.verdict,
        "auditor.audit": report.audit.id,
        "auditor.version": report.audit.versions.get("auditor", "unknown"),
        "auditor.model": report.model.name,
        "auditor.model_sha256": report.model.sha256,
        "auditor.dataset_sha256": report.dataset.sha256,
        "auditor.spec_sha256": report.audit.spec_sha256,
        "auditor.results_sha256": report.results_sha256,
        **{f"auditor.gate.{_key(gate.rule)}": gate.outcome for gate in report.gates},
    }


def _metrics(report: Report) -> Iterator[tuple[str, float, int]]:
    yield "clean_accuracy", report.clean.accuracy, 0
    for curve in report.curves:
        for step, point in enumerate(curve.points):
            yield f"robust_accuracy.{curve.norm}", point.robust_accuracy, step
            yield f"robust_accuracy.{curve.norm}.{_key(point.eps)}", point.robust_accuracy, 0
            if point.certified_accuracy is not None:
                yield f"certified_accuracy.{curve.norm}", point.certified_accuracy, step
    for other in report.other_threats:
        yield f"accuracy.{_key(str(other.threat['name']))}", other.accuracy, 0


def _entries(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": legible_text(value)[:_LONGEST]} for key, value in values.items()]


def _key(text: str) -> str:
    return re.sub(r"[^\w\-./ ]", "_", text.replace("/", "_"), flags=re.ASCII)[:200]
