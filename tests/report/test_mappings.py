"""What maps to what: by what was done, in words that claim no compliance."""

import pytest

from auditor.report.mappings import mappings
from auditor.report.sections import mapping


def seeing(report, *accesses):
    """The report as if its stages had seen these."""
    stage = report.stages[0]
    stages = [stage.model_copy(update={"access": access, "attack": f"{access}-attack"}) for access in accesses]
    return report.model_copy(update={"stages": stages})


@pytest.mark.parametrize(
    ("access", "nist", "atlas"),
    [
        ("white-box", "evasion, white-box", "AML.T0043.000 White-Box Optimization"),
        ("score", "evasion, black-box, score-based queries", "AML.T0043.001 Black-Box Optimization"),
        ("decision", "evasion, black-box, decision-based queries", "AML.T0043.001 Black-Box Optimization"),
        ("transfer", "evasion, black-box, transferability", "AML.T0043.002 Black-Box Transfer"),
    ],
)
def test_attacks_map_by_what_they_see(ran, access, nist, atlas):
    found = {m.reference: m.says for m in mappings(seeing(ran.report, access))}
    assert found[nist] == found[atlas] == f"{access}-attack"
    assert sum(reference.startswith("AML.T0043") for reference in found) == 1


def test_formal_methods_and_other_threats_are_mapped_to_only_where_they_were_used(ran):
    frameworks = {m.framework for m in mappings(ran.report)}
    assert "ISO/IEC TR 24029-1:2021" in frameworks
    assert "ISO/IEC 24029-2:2023" not in frameworks
    assert "Article 15(4)" not in {m.reference for m in mappings(ran.report)}
    (curve, *_) = ran.report.curves
    points = [point.model_copy(update={"certified_accuracy": 0.1}) for point in curve.points]
    proved = ran.report.model_copy(update={"curves": [curve.model_copy(update={"points": points})]})
    assert "ISO/IEC 24029-2:2023" in {m.framework for m in mappings(proved)}


def test_evasion_is_mapped_to_only_where_something_was_broken(ran):
    assert "AML.T0015 Evade AI Model" in {m.reference for m in mappings(ran.report)}
    whole = [
        curve.model_copy(update={"points": [p.model_copy(update={"broken_by": {}}) for p in curve.points]})
        for curve in ran.report.curves
    ]
    assert not {"AML.T0015 Evade AI Model"} & {
        m.reference for m in mappings(ran.report.model_copy(update={"curves": whole}))
    }


def test_the_section_claims_no_compliance(ran):
    said, table = mapping.section(ran.report).blocks
    assert "does not say that the model, or this audit, complies" in said.text
    assert len(table.rows) == len(mappings(ran.report)) > 5
