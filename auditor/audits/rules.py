"""The rules of a policy beside robust accuracy and the baseline, and waivers, by which a failing one is put up with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from auditor.audits.gates import GateResult, Outcome, level, point_of, regression_rule
from auditor.audits.summary import Clean, Curve
from auditor.errors import SpecError
from auditor.spec import AuditSpec, Gate, Policy, Severity

_WORSE: dict[Severity, tuple[str, ...]] = {"warning": ("warning", "error"), "error": ("error",)}


def policy_gates(
    policy: Policy, curves: Sequence[Curve], clean: Clean, checks: Sequence[Mapping[str, Any]]
) -> Iterator[GateResult]:
    """What the policy asks of certified and of clean accuracy, and of the diagnosis. checks: all that it made."""
    for gate in policy.certified:
        yield certified_gate(gate, curves)
    if policy.clean is not None:
        yield clean_gate(policy.clean, clean)
    if policy.diagnosis is not None:
        yield diagnosis_gate(policy.diagnosis, checks)


def certified_gate(gate: Gate, curves: Sequence[Curve]) -> GateResult:
    """Whether what is proved reaches the gate's threshold t.

    Passed when the lower limit of certified accuracy reaches t, whatever the diagnosis says; failed when not even as
    many stand the attacks, so that no certificate could reach it; else inconclusive.
    """
    point, t = point_of(gate.norm, gate.eps, curves), gate.threshold
    assured, upper = point.true_interval
    outcome: Outcome = "inconclusive"
    sure = level(point.effective_size)
    if upper < t:
        outcome, message = "failed", f"out of reach: at most {upper:.1%} ({sure}) stand the attacks, below {t:.1%}"
    elif assured >= t:
        outcome, message = "passed", f"at least {assured:.1%} ({sure}) are certified"
    elif point.certified_accuracy is None:
        message = "nothing was certified in this audit"
    else:
        message = (
            f"{point.certified_accuracy:.1%} are certified, at least {assured:.1%} ({sure}), and {t:.1%} is asked for"
        )
    return GateResult(
        rule=certified_rule(gate),
        kind="certified",
        outcome=outcome,
        observed=point.certified_accuracy or 0.0,
        interval=point.true_interval,
        message=message,
    )


def clean_gate(threshold: float, clean: Clean) -> GateResult:
    """Whether accuracy on untouched examples reaches the threshold: by the limits of its interval, as every gate."""
    lower, upper = clean.interval
    outcome: Outcome = "inconclusive"
    sure = level(clean.effective_size)
    if upper < threshold:
        outcome, message = "failed", f"clean accuracy is at most {upper:.1%} ({sure}), below {threshold:.1%}"
    elif lower >= threshold:
        outcome, message = "passed", f"clean accuracy is at least {lower:.1%} ({sure})"
    else:
        message = f"the interval holds {threshold:.1%}: more examples would narrow it"
    return GateResult(
        rule=clean_rule(threshold),
        kind="clean",
        outcome=outcome,
        observed=clean.accuracy,
        interval=clean.interval,
        message=message,
    )


def diagnosis_gate(severity: Severity, checks: Sequence[Mapping[str, Any]]) -> GateResult:
    """Failed where a check found something of this severity or worse."""
    found = [check["check"] for check in checks if check["severity"] in _WORSE[severity]]
    share = len(found) / len(checks) if checks else 0.0
    return GateResult(
        rule=diagnosis_rule(severity),
        kind="diagnosis",
        outcome="failed" if found else "passed",
        observed=share,
        interval=(share, share),
        message=f"found: {', '.join(found)}" if found else f"none of {len(checks)} checks found any",
    )


def waived(results: Iterable[GateResult], policy: Policy) -> list[GateResult]:
    """The results, with its waiver at each that did not pass and has one."""
    by_rule = {waiver.rule: waiver for waiver in policy.waivers}
    return [
        result
        if result.outcome == "passed" or result.rule not in by_rule
        else result.model_copy(update={"waiver": by_rule[result.rule]})
        for result in results
    ]


def check_waivers(spec: AuditSpec, margin: float | None) -> None:
    """SpecError for a waiver of a rule that this audit does not have. margin: of the baseline, None without one."""
    if spec.policy is None:
        return
    rules = list(_rules(spec, spec.policy, margin))
    for waiver in spec.policy.waivers:
        if waiver.rule not in rules:
            known = ", ".join(f"'{rule}'" for rule in rules[:10]) or "none"
            raise SpecError(f"the waiver of '{waiver.rule}' is of no rule of this audit; its rules are {known}")


def _rules(spec: AuditSpec, policy: Policy, margin: float | None) -> Iterator[str]:
    yield from (gate.rule for gate in spec.gates)
    yield from map(certified_rule, policy.certified)
    if policy.clean is not None:
        yield clean_rule(policy.clean)
    if policy.diagnosis is not None:
        yield diagnosis_rule(policy.diagnosis)
    if margin is not None:
        yield from (regression_rule(threat.norm, eps, margin) for threat in spec.threats for eps in threat.eps)


def certified_rule(gate: Gate) -> str:
    return f"certified {gate.rule}"


def clean_rule(threshold: float) -> str:
    return f"clean={threshold:g}"


def diagnosis_rule(severity: Severity) -> str:
    return f"diagnosis: no {severity}"
