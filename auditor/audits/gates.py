"""Rules that decide whether a model may pass: failed, passed, or inconclusive where the evidence decides neither.

A gate fails by its upper limit and passes by its lower one, so that chance alone rarely does either. What an attack
breaks is broken, so that a failure stands even when stages are missing or gradients are masked; that nothing was
found proves little, so that a finding of the diagnosis turns a pass into `inconclusive`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from auditor.audits.design import Alike, Design
from auditor.audits.outcomes import Outcomes
from auditor.audits.paired import Loss, pairs
from auditor.audits.statistics import ALPHA, Interval, holm_levels
from auditor.audits.summary import Curve, Point, Section
from auditor.errors import SpecError
from auditor.spec import Gate, Norm, Waiver, exact

Outcome = Literal["passed", "failed", "inconclusive"]
Verdict = Literal["passed", "failed", "inconclusive", "none"]


class GateResult(Section):
    """observed and interval are: of kind robust a robust accuracy, certified a certified one, clean a clean one, regression
    a net loss against the baseline, diagnosis the share of checks that found something so severe. waiver: of a rule that
    did not pass and is put up with."""

    rule: str
    kind: Literal["robust", "regression", "certified", "clean", "diagnosis"]
    outcome: Outcome
    observed: float
    interval: Interval
    message: str
    mcnemar_p: float | None = None
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Baseline:
    """What an earlier report knows: the digests of its examples, their outcomes per norm in the same order, and their
    weights and groups where it has some."""

    spec_sha256: str
    digests: tuple[str, ...]
    outcomes: Mapping[Norm, Outcomes]
    design: Design | None = None


def findings(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the checks that make a diagnosis unclean: those above "info"."""
    return [check["check"] for check in checks if check["severity"] != "info"]


def verdict(results: Sequence[GateResult]) -> Verdict:
    """The worst outcome of all gates, where a waived one is as good as passed; "none" without gates."""
    outcomes = {"passed" if result.waiver else result.outcome for result in results}
    for worst in ("failed", "inconclusive", "passed"):
        if worst in outcomes:
            return worst
    return "none"


def robust_gate(gate: Gate, curves: Sequence[Curve], findings: Sequence[str]) -> GateResult:
    """Whether robust accuracy reaches the gate's threshold t.

    Failed when the upper limit of what stands lies below t; passed when its lower limit reaches t and the diagnosis
    is clean, or when the lower limit of what is certified reaches t; else inconclusive. Each limit holds with 97.5 %.
    SpecError when the gate's eps is not on the curve's grid.
    """
    point = point_of(gate.norm, gate.eps, curves)
    t, (lower, upper), assured = gate.threshold, point.interval, point.true_interval[0]
    outcome: Outcome = "inconclusive"
    sure = level(point.effective_size)
    if upper < t:
        outcome, message = "failed", f"too weak: robust accuracy is at most {upper:.1%} ({sure}), below {t:.1%}"
    elif t == 0:
        outcome, message = "passed", "no accuracy lies below 0 %"
    elif assured >= t:
        outcome, message = "passed", f"assured: certified accuracy is at least {assured:.1%} ({sure})"
    elif lower < t:
        message = f"the interval holds {t:.1%}: {_remedy(point)}"
    elif findings:
        message = f"not broken, but the diagnosis doubts the attacks: {', '.join(findings)}"
    else:
        outcome, message = "passed", f"not broken: at least {lower:.1%} ({sure}) stand these attacks"
    return GateResult(
        rule=gate.rule,
        kind="robust",
        outcome=outcome,
        observed=point.robust_accuracy,
        interval=point.interval,
        message=message,
    )


def level(effective_size: float | None) -> str:
    """How sure a limit is, and what that rests on where it is estimated from weights or groups."""
    return "97.5 %" if effective_size is None else f"about 97.5 %, as of {effective_size:,.0f} independent examples"


def check_comparable(baseline: Baseline, spec_sha256: str, norms: Iterable[Norm]) -> None:
    """SpecError where an audit with this specification could not be compared with the baseline; costs nothing."""
    if spec_sha256 != baseline.spec_sha256:
        raise SpecError(
            "the baseline was made with another specification, so that a difference need not be the model's; "
            "repeat the baseline's audit with the present options, or give its options now"
        )
    missing = [norm for norm in norms if norm not in baseline.outcomes]
    if missing:
        raise SpecError(f"the baseline has no curve for {', '.join(missing)}; give the report as it was written")


def regression_gates(
    baseline: Baseline,
    spec_sha256: str,
    digests: Sequence[str],
    outcomes: Sequence[Outcomes],
    *,
    margin: float,
    findings: Sequence[str] = (),
    primary: tuple[Norm, str] | None = None,
    design: Design | None = None,
) -> list[GateResult]:
    """Whether more than `margin` of the examples that stood in the baseline is lost, net of those gained.

    Paired by the digests of input and label; spec_sha256, digests and outcomes are the present audit's. With a
    primary (norm, eps) only that point is tested; without one every point is, under Holm's correction: 2.5 % for all
    failures together and 2.5 % for all passes, and each interval is at the levels that its own test used. design: weights and
    groups of the present audit, where it has some; else the baseline's hold.
    SpecError where the two audits cannot be paired.
    """
    losses = paired_losses(baseline, spec_sha256, digests, outcomes, primary=primary, design=design)
    return judged_losses(losses, margin=margin, findings=[findings] * len(losses))


def paired_losses(
    baseline: Baseline,
    spec_sha256: str,
    digests: Sequence[str],
    outcomes: Sequence[Outcomes],
    *,
    primary: tuple[Norm, str] | None = None,
    design: Design | None = None,
) -> list[Loss]:
    """What was lost and gained against the baseline at each point, or at the primary one. Arguments and SpecError as of
    `regression_gates`."""
    check_comparable(baseline, spec_sha256, [found.threat.norm for found in outcomes])
    before, now = pairs(baseline.digests, digests)
    if not len(before):
        raise SpecError("the baseline shares no example with this audit; give a report on the same dataset")
    known = baseline.design if design is None or isinstance(design, Alike) else None
    chosen = known.rows(before) if known is not None else None if design is None else design.rows(now)
    losses = [
        Loss.between(baseline.outcomes[theirs.threat.norm], before, theirs, now, eps, chosen)
        for theirs in outcomes
        for eps in theirs.threat.eps
        if primary is None or (theirs.threat.norm == primary[0] and exact(eps) == exact(primary[1]))
    ]
    if not losses:
        raise SpecError(f"the primary eps {':'.join(primary or ())} is not on the audit's grid; add it with --eps")
    return losses


def judged_losses(losses: Sequence[Loss], *, margin: float, findings: Sequence[Sequence[str]]) -> list[GateResult]:
    """Each loss against the margin, all together under Holm's correction. findings: of each loss's own audit.

    SpecError for a margin that is no share.
    """
    if not 0 <= margin < 1:
        raise SpecError(f"a margin of {margin:g} is not a share of the examples; give one from 0 to below 1")
    failing = holm_levels(np.array([loss.p_above(margin) for loss in losses]), ALPHA / 2)
    passing = holm_levels(np.array([loss.p_below(margin) for loss in losses]), ALPHA / 2)
    return [
        _regression(loss, float(down), float(up), margin, found)
        for loss, down, up, found in zip(losses, failing, passing, findings, strict=True)
    ]


def _regression(
    loss: Loss, lower_level: float, upper_level: float, margin: float, findings: Sequence[str]
) -> GateResult:
    lost, gained = loss.observed
    lower, upper = loss.limits(lower_level, upper_level)
    counts = f"{lost} lost and {gained} gained of {loss.n} paired examples"
    outcome: Outcome = "inconclusive"
    if lower > margin:
        outcome, message = "failed", f"{counts}: the net loss is at least {lower:.1%}, above {margin:.1%}"
    elif upper >= margin:
        message = f"{counts}: the interval holds {margin:.1%}; more examples would narrow it"
    elif findings:
        message = f"{counts}, but the diagnosis doubts the attacks: {', '.join(findings)}"
    else:
        outcome, message = "passed", f"{counts}: the net loss is at most {upper:.1%}, below {margin:.1%}"
    return GateResult(
        rule=regression_rule(loss.norm, loss.eps, margin),
        kind="regression",
        outcome=outcome,
        observed=loss.net,
        interval=(lower, upper),
        message=message,
        mcnemar_p=loss.mcnemar_p,
    )


def regression_rule(norm: Norm, eps: str, margin: float) -> str:
    return f"{norm}:{eps} net loss < {margin:g}"


def point_of(norm: Norm, eps: str, curves: Sequence[Curve]) -> Point:
    """The curve's point at an eps, by its value; SpecError where there is none."""
    for curve in curves:
        for point in curve.points:
            if curve.norm == norm and exact(point.eps) == exact(eps):
                return point
    raise SpecError(f"no curve of this audit has a point at {norm}:{eps}; add it with --norm {norm} --eps {eps}")


def _remedy(point: Point) -> str:
    if point.unfinished:
        return f"{point.unfinished} examples are unfinished; resume the audit with a larger budget"
    return "more examples would narrow it"
