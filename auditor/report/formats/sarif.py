"""SARIF 2.1.0 (OASIS), as code scanning reads it: a result per gate that failed, at the model's file.

Gates that nothing decided are notifications of the run: they are no findings about the model. A waived failure is a
suppressed result.
"""

import hashlib
import json
from typing import Any
from urllib.parse import quote

from auditor.audits.gates import GateResult
from auditor.report.legible import legible_text
from auditor.report.schema import Report

_RULES = {
    "robust": ("RobustAccuracy", "Robust accuracy under attack is below what is asked for"),
    "regression": ("RobustnessRegression", "More examples are lost under attack than in the baseline"),
    "certified": ("CertifiedAccuracy", "Certified accuracy cannot reach what is asked for"),
    "clean": ("CleanAccuracy", "Accuracy on untouched inputs is below what is asked for"),
    "diagnosis": ("Diagnosis", "The diagnosis doubts the attacks, so that their figures cannot be relied on"),
}
_TAGS = ("security", "adversarial-robustness", "external/mitre-atlas/AML.T0015", "external/mitre-atlas/AML.T0043")


def sarif(report: Report) -> bytes:
    """One run, JSON."""
    kinds = list(_RULES)
    location = {"uri": quote(legible_text(report.model.name)), "index": 0}
    run = {
        "tool": {
            "driver": {
                "name": "auditor",
                "version": report.audit.versions.get("auditor", "unknown"),
                "rules": [_rule(kind) for kind in kinds],
            }
        },
        "artifacts": [{"location": {"uri": location["uri"]}, "hashes": {"sha-256": report.model.sha256}}],
        "invocations": [
            {
                "executionSuccessful": True,
                "endTimeUtc": report.audit.finished_at.replace("+00:00", "Z"),
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": _sentence(gate)}}
                    for gate in report.gates
                    if gate.outcome == "inconclusive"
                ],
            }
        ],
        "results": [
            _result(gate, kinds.index(gate.kind), location) for gate in report.gates if gate.outcome == "failed"
        ],
        "properties": {
            "verdict": report.verdict,
            "resultsSha256": report.results_sha256,
            "datasetSha256": report.dataset.sha256,
            "specSha256": report.audit.spec_sha256,
        },
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2).encode() + b"\n"


def _rule(kind: str) -> dict[str, Any]:
    name, text = _RULES[kind]
    return {
        "id": f"auditor/{kind}",
        "name": name,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": list(_TAGS), "security-severity": "7.0"},
    }


def _result(gate: GateResult, index: int, location: dict[str, Any]) -> dict[str, Any]:
    # The rule alone: the same gate of the next audit continues this finding, whatever the figures are then.
    fingerprint = hashlib.sha256(gate.rule.encode()).hexdigest()
    return {
        "ruleId": f"auditor/{gate.kind}",
        "ruleIndex": index,
        "level": "error",
        "message": {"text": _sentence(gate)},
        "locations": [{"physicalLocation": {"artifactLocation": location, "region": {"startLine": 1}}}],
        "partialFingerprints": {"gate/v1": fingerprint},
        "suppressions": _suppressions(gate),
        "properties": {"rule": gate.rule, "observed": gate.observed, "interval": gate.interval},
    }


def _suppressions(gate: GateResult) -> list[dict[str, Any]]:
    if gate.waiver is None:
        return []
    said = f"waived by {gate.waiver.approver} until {gate.waiver.until}: {gate.waiver.reason}"
    return [{"kind": "external", "status": "accepted", "justification": legible_text(said)}]


def _sentence(gate: GateResult) -> str:
    return legible_text(f"{gate.rule}: {gate.message}")
