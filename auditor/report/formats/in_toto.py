"""An in-toto statement of the predicate test-result v0.1: which gates this very model file passed.

It is not signed here; `cosign attest-blob --statement` and others sign it as it is. A gate that nothing decided is among
the failed tests: who enforces such a statement asks whether the model passed.
"""

import json
from typing import Any

from auditor.audits.gates import Outcome
from auditor.errors import SpecError
from auditor.report.legible import legible_text
from auditor.report.schema import Report

_RESULTS = {"passed": "PASSED", "failed": "FAILED", "inconclusive": "FAILED"}


def in_toto(report: Report) -> bytes:
    """A statement, JSON. SpecError for a report without gates, of which there is nothing to be stated."""
    if report.verdict == "none":
        raise SpecError("this audit had no gate, so that there is no test result to state; audit with --fail-under")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_resource(report.model.name, report.model.sha256)],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _RESULTS[report.verdict],
            "configuration": [
                _resource("specification", report.audit.spec_sha256),
                _resource(report.dataset.name, report.dataset.sha256),
                _resource("results", report.results_sha256),
            ],
            "passedTests": _rules(report, "passed"),
            "warnedTests": [],
            "failedTests": [*_rules(report, "failed"), *_rules(report, "inconclusive")],
        },
    }
    return json.dumps(statement, indent=2).encode() + b"\n"


def _resource(name: str, sha256: str) -> dict[str, Any]:
    return {"name": legible_text(name), "digest": {"sha256": sha256}}


def _rules(report: Report, outcome: Outcome) -> list[str]:
    return [legible_text(gate.rule) for gate in report.gates if gate.outcome == outcome]
