"""An in-toto statement of the predicate test-result v0.1: which gates this very model file passed.

`report.dsse` signs it, and so do `cosign attest-blob --statement` and others. A waived gate is among the warned tests. One
that nothing decided is among the failed ones, unless the policy only warns of that: who enforces such a statement asks
whether the model passed.
"""

import json
from typing import Any

from auditor.audits.gates import GateResult
from auditor.errors import SpecError
from auditor.report.legible import legible_text
from auditor.report.schema import Report

MEDIA_TYPE = "application/vnd.in-toto+json"


def in_toto(report: Report) -> bytes:
    """A statement, JSON. SpecError for a report without gates, of which there is nothing to be stated."""
    if report.verdict == "none":
        raise SpecError("this audit had no gate, so that there is no test result to state; audit with --fail-under")
    tests: dict[str, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    for gate in report.gates:
        tests[_result(gate, report)].append(legible_text(gate.rule))
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_resource(report.model.name, report.model.sha256)],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": next(result for result in ("FAILED", "WARNED", "PASSED") if tests[result]),
            "configuration": [
                _resource("specification", report.audit.spec_sha256),
                _resource(report.dataset.name, report.dataset.sha256),
                _resource("results", report.results_sha256),
            ],
            "passedTests": tests["PASSED"],
            "warnedTests": tests["WARNED"],
            "failedTests": tests["FAILED"],
        },
    }
    return json.dumps(statement, indent=2).encode() + b"\n"


def _result(gate: GateResult, report: Report) -> str:
    if gate.outcome == "passed":
        return "PASSED"
    put_up = gate.waiver is not None or (gate.outcome == "inconclusive" and report.puts_up)
    return "WARNED" if put_up else "FAILED"


def _resource(name: str, sha256: str) -> dict[str, Any]:
    return {"name": legible_text(name), "digest": {"sha256": sha256}}
