"""When not to trust the number: every attack alone on one random subsample, and what that says about the attacks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from auditor.attacks.cascade import Grid, Progress
from auditor.audits.prepare import Prepared
from auditor.audits.run import WorkItem
from auditor.audits.subject import Subject


def diagnose(
    subject: Subject, prepared: Prepared, items: Sequence[WorkItem], finished: Mapping[str, Progress]
) -> dict[str, Any]:
    """The report's diagnosis: subsample (dataset positions), accuracy of each attack alone per eps, checks."""
    ran = [item for item in items if item.name in finished]
    rows = items[0].rows if items else np.zeros(0, dtype=np.int64)
    checks = [_randomised(prepared), _gradient(prepared)]
    for threat in subject.spec.threats:
        grid = Grid(threat, subject.spec.width)
        alone = [
            (item.stages[0], grid.critical(finished[item.name].best[threat.norm].distance))
            for item in ran
            if item.stages[0].norm == threat.norm
        ]
        white = [position for stage, position in alone if stage.access == "white-box"]
        for stage, position in alone:
            if stage.access != "white-box" and white:
                checks.append(_beaten(stage.name, threat.norm, position, np.min(white, axis=0)))
    return {
        "subsample": prepared.index[rows].tolist(),
        "attacks": [_alone(subject, item, finished[item.name]) for item in ran],
        "checks": checks,
    }


def _alone(subject: Subject, item: WorkItem, progress: Progress) -> dict[str, Any]:
    """The accuracy that one attack alone leaves on the subsample, per eps of its norm."""
    stage = item.stages[0]
    threat = next(t for t in subject.spec.threats if t.norm == stage.norm)
    position = Grid(threat, subject.spec.width).critical(progress.best[stage.norm].distance)
    row = progress.rows[0]
    return {
        "attack": stage.name,
        "norm": stage.norm,
        "access": stage.access,
        "eps": list(threat.eps),
        "accuracy": [float(np.mean(position >= level)) for level in range(len(threat.eps))],
        "forwards": row.forwards,
        "backwards": row.backwards,
    }


def _randomised(prepared: Prepared) -> dict[str, Any]:
    if prepared.randomised:
        return _check(
            "randomised-output",
            "error",
            "the model gives different scores for the same input: a single draw says little, and gradients need "
            "averaging over many",
        )
    return _check("randomised-output", "info", "the same input gives the same scores")


def _gradient(prepared: Prepared) -> dict[str, Any]:
    gradient = prepared.gradient
    evidence = {"error": gradient.error, "nonzero": gradient.nonzero}
    severity = "info" if gradient.access == "white-box" else "warning"
    return _check("gradient", severity, gradient.why, evidence)


def _beaten(attack: str, norm: str, position: np.ndarray, white: np.ndarray) -> dict[str, Any]:
    """Whether an attack that sees only scores broke what no white-box attack did (Carlini et al. 2019, section 3)."""
    only = int(np.sum(position < white))
    evidence = {"attack": attack, "norm": norm, "examples": only, "of": len(position)}
    if only > max(1, 0.02 * len(position)):
        return _check(
            "black-box-beats-white-box",
            "warning",
            f"{attack} ({norm}) breaks {only} of {len(position)} examples nearer than any white-box attack alone: "
            "gradients may be masked",
            evidence,
        )
    return _check("black-box-beats-white-box", "info", f"{attack} ({norm}) is no stronger than gradients", evidence)


def _check(name: str, severity: str, message: str, evidence: object = None) -> dict[str, Any]:
    return {"check": name, "severity": severity, "message": message, "evidence": evidence}
