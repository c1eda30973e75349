"""JUnit XML, as Jenkins, GitLab and others read it: a test case per gate.

A gate that failed is a failure, one that nothing decides an error; one that is waived, or undecided where the policy only
warns of that, is skipped. What the diagnosis doubts
and what was not tested go into system-out.
"""

from xml.etree import ElementTree as ET

from auditor.audits.gates import GateResult
from auditor.report.legible import legible_text
from auditor.report.numbers import interval, percent
from auditor.report.schema import Report

_ELEMENTS = {"failed": "failure", "inconclusive": "error"}


def junit(report: Report) -> bytes:
    """One test suite, UTF-8."""
    elements = [_element(gate, report) for gate in report.gates]
    counts = {
        "tests": len(elements),
        "failures": elements.count("failure"),
        "errors": elements.count("error"),
        "skipped": elements.count("skipped"),
    }
    name = legible_text(f"robustness of {report.model.name}")
    suites = ET.Element("testsuites", name="auditor")
    suite = ET.SubElement(
        suites,
        "testsuite",
        {key: str(count) for key, count in counts.items()},
        name=name,
        timestamp=report.audit.finished_at,
        time=f"{sum(stage.seconds for stage in report.stages):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(report).items():
        ET.SubElement(properties, "property", name=key, value=legible_text(value))
    for gate, element in zip(report.gates, elements, strict=True):
        case = ET.SubElement(suite, "testcase", name=legible_text(gate.rule), classname=f"auditor.{gate.kind}")
        if element is not None:
            said = ET.SubElement(case, element, type=gate.outcome, message=legible_text(gate.message))
            said.text = legible_text(_text(gate))
    ET.SubElement(suite, "system-out").text = "\n".join(map(legible_text, _said(report)))
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _element(gate: GateResult, report: Report) -> str | None:
    if gate.waiver is not None or (gate.outcome == "inconclusive" and report.puts_up):
        return "skipped"
    return _ELEMENTS.get(gate.outcome)


def _text(gate: GateResult) -> str:
    figures = f"observed {percent(gate.observed)}, 95 % interval {interval(gate.interval)}"
    if gate.waiver is None:
        return figures
    return f"{figures}; waived by {gate.waiver.approver} until {gate.waiver.until}: {gate.waiver.reason}"


def _properties(report: Report) -> dict[str, str]:
    return {
        "verdict": report.verdict,
        "model": f"{report.model.name} sha256:{report.model.sha256}",
        "dataset": f"{report.dataset.name} sha256:{report.dataset.sha256}",
        "spec_sha256": report.audit.spec_sha256,
        "results_sha256": report.results_sha256,
        "clean_accuracy": percent(report.clean.accuracy),
    }


def _said(report: Report) -> list[str]:
    doubts = [check for check in report.diagnosis.checks if check.severity != "info"]
    return [
        *(f"{check.severity}: {check.check}: {check.message}" for check in doubts),
        *(f"not tested: {sentence}" for sentence in report.not_tested),
    ]
