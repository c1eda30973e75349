"""Gates: what fails, what passes, and what the evidence leaves open."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.audits.gates import Baseline, findings, regression_gates, robust_gate, verdict
from auditor.audits.outcomes import Outcomes
from auditor.audits.summary import curve
from auditor.errors import SpecError
from auditor.spec import Gate, Threat

EPS = "8/255"


def made_of(standing, broken, unfinished=0, certified=0, eps=(EPS,)):
    n = standing + broken + unfinished + certified
    distance = np.repeat([np.inf, 0.01, np.inf, np.inf], [standing, broken, unfinished, certified])
    return Outcomes(
        threat=Threat(norm="Linf", eps=eps),
        index=np.arange(n),
        right=np.ones(n, bool),
        distance=distance,
        attack=np.where(np.isfinite(distance), "apgd", ""),
        complete=np.repeat([True, True, False, True], [standing, broken, unfinished, certified]),
        certified_radius=np.repeat([0.0, 0.0, 0.0, 1.0], [standing, broken, unfinished, certified]),
    )


def gate(outcomes, threshold, found=()):
    return robust_gate(Gate(norm="Linf", eps=EPS, threshold=threshold), [curve(outcomes)], found)


def test_a_gate_fails_by_the_upper_limit_and_passes_by_the_lower_one():
    outcomes = made_of(standing=500, broken=500)
    lower, upper = curve(outcomes).points[0].interval
    assert gate(outcomes, np.nextafter(upper, 1)).outcome == "failed"
    assert gate(outcomes, upper).outcome == "inconclusive"
    assert gate(outcomes, np.nextafter(lower, 1)).outcome == "inconclusive"
    assert gate(outcomes, lower).outcome == "passed"


def test_a_finding_turns_a_pass_into_inconclusive_and_leaves_a_failure():
    outcomes = made_of(standing=500, broken=500)
    doubtful = gate(outcomes, 0.4, ["zero gradients"])
    assert doubtful.outcome == "inconclusive"
    assert "zero gradients" in doubtful.message
    assert gate(outcomes, 0.6, ["zero gradients"]).outcome == "failed"


def test_missing_stages_never_hide_a_failure_and_never_let_pass():
    assert gate(made_of(standing=0, broken=800, unfinished=200), 0.4).outcome == "failed"
    open_gate = gate(made_of(standing=300, broken=0, unfinished=700), 0.4)
    assert open_gate.outcome == "inconclusive"
    assert "700 examples are unfinished" in open_gate.message


def test_certificates_pass_a_gate_whatever_the_diagnosis_says():
    assured = gate(made_of(standing=0, broken=500, certified=500), 0.4, ["zero gradients"])
    assert assured.outcome == "passed"
    assert assured.message.startswith("assured")


def test_a_gate_that_asks_for_nothing_passes_without_speaking_of_certificates():
    result = gate(made_of(standing=0, broken=10), 0.0, ["zero gradients"])
    assert result.outcome == "passed"
    assert "certified" not in result.message


def test_few_examples_cannot_pass_a_demanding_gate():
    assert gate(made_of(standing=20, broken=0), 0.9).outcome == "inconclusive"


def test_a_gate_finds_its_eps_by_value():
    result = robust_gate(Gate(norm="Linf", eps="16/510", threshold=0), [curve(made_of(5, 5))], ())
    assert result.observed == 0.5


def test_a_gate_off_the_grid_says_how_to_add_it():
    with pytest.raises(SpecError, match="--norm L2 --eps 1"):
        robust_gate(Gate(norm="L2", eps="1", threshold=0.5), [curve(made_of(5, 5))], ())


ORDER = ["failed", "inconclusive", "passed"]
sizes = st.tuples(*[st.integers(0, 30)] * 4).filter(any)
thresholds = st.floats(0, 1)
doubts = st.sampled_from([(), ("masked",)])


@given(sizes, thresholds, thresholds, doubts)
def test_a_higher_threshold_never_helps(counts, one, other, found):
    outcomes = made_of(*counts)
    low, high = sorted([one, other])
    assert ORDER.index(gate(outcomes, high, found).outcome) <= ORDER.index(gate(outcomes, low, found).outcome)


@given(sizes, thresholds)
def test_a_finding_never_helps(counts, t):
    outcomes = made_of(*counts)
    assert ORDER.index(gate(outcomes, t, ["masked"]).outcome) <= ORDER.index(gate(outcomes, t).outcome)


@given(sizes, thresholds, doubts)
def test_finishing_an_audit_without_a_find_never_unpasses_it(counts, t, found):
    standing, broken, unfinished, certified = counts
    before = gate(made_of(*counts), t, found).outcome
    after = gate(made_of(standing + unfinished, broken, 0, certified), t, found).outcome
    assert ORDER.index(before) <= ORDER.index(after)


def test_findings_are_the_checks_above_info():
    checks = [{"check": name, "severity": name, "message": ""} for name in ("info", "warning", "error")]
    assert findings(checks) == ["warning", "error"]


def test_the_verdict_is_the_worst_outcome():
    passed, failed = gate(made_of(100, 0), 0.5), gate(made_of(0, 100), 0.5)
    undecided = gate(made_of(50, 50), 0.5)
    assert verdict([]) == "none"
    assert verdict([passed]) == "passed"
    assert verdict([passed, undecided]) == "inconclusive"
    assert verdict([passed, undecided, failed]) == "failed"


DIGESTS = [f"{i:064x}" for i in range(1000)]


def compare(first, second, **options):
    baseline = Baseline("spec", tuple(DIGESTS[: len(first)]), {"Linf": first})
    options = {"spec_sha256": "spec", "digests": DIGESTS[: len(second)], "margin": 0.02} | options
    return regression_gates(baseline, outcomes=[second], **options)


def test_the_same_outcomes_are_no_regression():
    (result,) = compare(made_of(500, 500), made_of(500, 500))
    assert (result.outcome, result.observed, result.mcnemar_p) == ("passed", 0.0, 1.0)


def test_a_loss_beyond_the_margin_fails():
    (result,) = compare(made_of(500, 500), made_of(400, 600))
    assert result.outcome == "failed"
    assert result.observed == pytest.approx(0.1)
    assert result.interval[0] > 0.02


def test_a_loss_near_the_margin_is_inconclusive():
    (result,) = compare(made_of(500, 500), made_of(480, 520))
    assert result.outcome == "inconclusive"


def test_few_examples_prove_no_equality():
    (result,) = compare(made_of(20, 20), made_of(20, 20))
    assert result.outcome == "inconclusive"


def test_a_finding_turns_an_equality_into_inconclusive():
    (result,) = compare(made_of(500, 500), made_of(500, 500), findings=["masked"])
    assert result.outcome == "inconclusive"
    (result,) = compare(made_of(500, 500), made_of(400, 600), findings=["masked"])
    assert result.outcome == "failed"


def test_unfinished_examples_enter_a_comparison_as_bounds():
    (open_now,) = compare(made_of(500, 500), made_of(0, 500, unfinished=500))
    (open_before,) = compare(made_of(0, 500, unfinished=500), made_of(0, 1000))
    assert open_now.outcome == "inconclusive"
    assert open_before.outcome == "inconclusive"


def test_examples_are_paired_by_digest_not_by_place():
    second = made_of(500, 500)
    (result,) = compare(made_of(500, 500), second, digests=DIGESTS[500:1000] + DIGESTS[:500])
    assert "500 lost and 500 gained of 1000 paired" in result.message


def test_copies_of_an_example_are_paired_once_each():
    digests = ["a", "a", "b", "c"]
    baseline = Baseline("spec", ("a", "b", "a", "a"), {"Linf": made_of(4, 0)})
    (result,) = regression_gates(baseline, "spec", digests, [made_of(4, 0)], margin=0.02)
    assert "of 3 paired" in result.message


def test_a_primary_eps_is_tested_alone_and_others_share_the_error():
    grid = ("1/255", EPS, "16/255")
    first, second = made_of(500, 500, eps=grid), made_of(465, 535, eps=grid)
    (primary,) = compare(first, second, margin=0.02, primary=("Linf", EPS))
    every = compare(first, second, margin=0.02)
    assert [r.rule.partition(" ")[0] for r in every] == [f"Linf:{eps}" for eps in grid]
    assert every[1].interval[0] < primary.interval[0]
    assert every[1].interval[1] >= primary.interval[1]


def test_audits_that_cannot_be_paired_are_refused():
    outcomes = made_of(5, 5)
    with pytest.raises(SpecError, match="another specification"):
        compare(outcomes, outcomes, spec_sha256="other")
    with pytest.raises(SpecError, match="no curve for Linf"):
        regression_gates(Baseline("spec", ("a",), {}), "spec", ["a"], [outcomes], margin=0.02)
    with pytest.raises(SpecError, match="shares no example"):
        compare(outcomes, outcomes, digests=["x"] * 10)
    with pytest.raises(SpecError, match="not on the audit's grid"):
        compare(outcomes, outcomes, primary=("L2", "1"))
    with pytest.raises(SpecError, match="margin of 2"):
        compare(outcomes, outcomes, margin=2)
