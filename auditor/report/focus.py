"""The points of the curves that a reader looks at first, and the verdict in words."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.audits.outcomes import Outcomes
from auditor.audits.summary import Curve, Point, outcomes_of
from auditor.report.blocks import Tone
from auditor.report.schema import Dataset, Report
from auditor.spec import exact


@dataclass(frozen=True)
class Focus:
    """One point of one curve."""

    curve: Curve
    point: Point

    @property
    def name(self) -> str:
        return f"{self.curve.norm} {self.point.eps}"

    @property
    def outcomes(self) -> Outcomes:
        return outcomes_of(self.curve)


def focuses(report: Report) -> tuple[Focus, ...]:
    """Where the gates ask, else per norm the point at which nearest to half of the clean accuracy is left."""
    asked = [gate.rule.partition("=")[0].split(":") for gate in report.gates if gate.kind == "robust"]
    found = [
        Focus(curve, point)
        for norm, eps in asked
        for curve in report.curves
        for point in curve.points
        if curve.norm == norm and exact(point.eps) == exact(eps)
    ]
    half = report.clean.accuracy / 2
    usual = [
        Focus(curve, min(curve.points, key=lambda point: abs(point.robust_accuracy - half)))
        for curve in report.curves
        if curve.norm not in {focus.curve.norm for focus in found}
    ]
    return (*found, *usual)


def summary(report: Report) -> dict[str, Any]:
    """What a list of audits says of this one; see resources.Summary."""
    looked_at = {"eps", "robust_accuracy", "interval"}
    points = [
        {"norm": focus.curve.norm, **focus.point.model_dump(mode="json", include=looked_at)}
        for focus in focuses(report)
    ]
    return {"clean_accuracy": report.clean.accuracy, "points": points}


def constant_accuracy(dataset: Dataset) -> float:
    """The accuracy of the best constant answer: the share of the most frequent label."""
    label, design = np.array(dataset.label), dataset.design
    return max(design.share(label == name) for name in np.unique(label))


def headline(report: Report) -> tuple[str, Tone, str]:
    """The verdict in a few words, its tone, and the reason in a sentence."""
    waived = [gate for gate in report.gates if gate.waiver]
    deciding = [gate for gate in report.gates if gate.outcome == report.verdict and not gate.waiver]
    said = [f"{gate.rule}: {gate.message}" for gate in deciding[:3]]
    said += [f"{gate.rule}: {gate.outcome}, waived by {gate.waiver.approver}" for gate in waived if gate.waiver]
    reason = "; ".join(said)
    if report.verdict == "failed":
        return "Do not ship", "bad", reason
    if report.verdict == "inconclusive":
        return "Inconclusive", "unsure", reason
    if report.verdict == "passed":
        return "Passed", "good", reason
    return "No gate was set", "plain", "Nothing was asked of this model; the figures below say what was found."
