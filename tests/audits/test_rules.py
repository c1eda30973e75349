"""The rules of a policy: when each passes and fails, and what a waiver changes."""

import datetime

import numpy as np
import pytest

from auditor.audits.gates import verdict
from auditor.audits.rules import certified_gate, check_waivers, clean_gate, diagnosis_gate, policy_gates, waived
from auditor.audits.summary import clean, curve
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Gate, Policy, Threat, Waiver, build
from tests.audits.test_gates import EPS, made_of

CHECKS = [{"check": name, "severity": severity} for name, severity in (("a", "info"), ("b", "warning"))]
DAY = datetime.date(2030, 1, 31)


def waiver(rule, until=DAY):
    return Waiver(rule=rule, approver="J. Doe", until=until, reason="known")


def certified(outcomes, threshold):
    return certified_gate(Gate(norm="Linf", eps=EPS, threshold=threshold), [curve(outcomes)])


def test_certificates_pass_their_gate_by_the_lower_limit():
    outcomes = made_of(standing=100, broken=400, certified=500)
    lower = curve(outcomes).points[0].true_interval[0]
    assert certified(outcomes, lower).outcome == "passed"
    assert certified(outcomes, np.nextafter(lower, 1)).outcome == "inconclusive"


def test_what_is_broken_puts_a_certificate_out_of_reach():
    outcomes = made_of(standing=100, broken=400, certified=500)
    upper = curve(outcomes).points[0].true_interval[1]
    assert certified(outcomes, upper).outcome == "inconclusive"
    assert certified(outcomes, np.nextafter(upper, 1)).outcome == "failed"


def test_clean_accuracy_is_judged_by_its_interval():
    accuracy = clean(np.arange(1000) < 900)
    lower, upper = accuracy.interval
    assert [
        clean_gate(t, accuracy).outcome for t in (lower, np.nextafter(lower, 1), upper, np.nextafter(upper, 1))
    ] == [
        "passed",
        "inconclusive",
        "inconclusive",
        "failed",
    ]


def test_the_diagnosis_fails_from_the_severity_that_is_named():
    assert diagnosis_gate("error", CHECKS).outcome == "passed"
    found = diagnosis_gate("warning", CHECKS)
    assert (found.outcome, found.observed, found.message) == ("failed", 0.5, "found: b")
    assert diagnosis_gate("warning", [{"check": "c", "severity": "error"}]).outcome == "failed"


def test_a_waived_rule_keeps_its_outcome_and_leaves_the_verdict():
    accuracy = clean(np.zeros(100, bool))
    policy = Policy(clean=0.5, diagnosis="error", waivers=(waiver("clean=0.5"), waiver("diagnosis: no error")))
    results = waived(policy_gates(policy, [], accuracy, CHECKS), policy)
    assert [(r.outcome, r.waiver and r.waiver.approver) for r in results] == [("failed", "J. Doe"), ("passed", None)]
    assert verdict(results) == "passed"
    assert verdict([*results, clean_gate(0.1, accuracy)]) == "failed"


def test_a_waiver_holds_up_to_the_end_of_its_day():
    policy = Policy(waivers=(waiver("clean=0.5"),))
    policy.refuse_expired(DAY)
    with pytest.raises(SpecError, match=r"the waiver of 'clean=0.5' by J. Doe ended on 2030-01-31; renew it"):
        policy.refuse_expired(DAY + datetime.timedelta(days=1))


@pytest.mark.parametrize(
    ("rule", "margin"),
    [
        ("Linf:8/255=0.4", None),
        ("certified Linf:8/255=0.3", None),
        ("clean=0.9", None),
        ("diagnosis: no warning", None),
        ("Linf:8/255 net loss < 0.02", 0.02),
    ],
)
def test_a_waiver_is_of_a_rule_of_the_audit(rule, margin):
    rules = {"robust": ["Linf:8/255=0.4"], "certified": ["Linf:8/255=0.3"], "clean": 0.9, "diagnosis": "warning"}

    def spec(name):
        policy = build(Policy, **rules, waivers=[waiver(name).model_dump(mode="json")])
        return AuditSpec(threats=(Threat(norm="Linf", eps=(EPS,)),), gates=policy.robust, policy=policy)

    check_waivers(spec(rule), margin)
    with pytest.raises(SpecError, match=r"is of no rule of this audit; its rules are 'Linf:8/255=0.4', 'certified"):
        check_waivers(spec(rule + "1"), margin)
