"""From the slices' progress to one value per norm: what every example's outcome is."""

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.progress import Progress
from auditor.audits.outcomes import Outcomes, at_least
from auditor.audits.prepare import Prepared
from auditor.audits.run import WorkItem
from auditor.spec import AuditSpec, Norm, Threat


def outcomes(
    prepared: Prepared, spec: AuditSpec, items: Sequence[WorkItem], finished: Mapping[str, Progress]
) -> list[Outcomes]:
    """One Outcomes per threat. finished: progress by work item name; an item that is absent was not tried at all."""
    return [_under(threat, prepared, items, finished) for threat in spec.threats]


def on_item(threat: Threat, prepared: Prepared, item: WorkItem, progress: Progress) -> Outcomes:
    """The outcomes of one work item's rows, in their order."""
    norm, right = threat.norm, prepared.right[item.rows]
    best = progress.best[norm]
    return Outcomes(
        threat=threat,
        index=prepared.index[item.rows],
        right=right,
        distance=np.where(right, best.distance, 0.0),
        attack=best.attack,
        complete=~right | (~progress.skipped[norm] & _all_ran(norm, item, progress)),
        margin=best.margin,
        forwards=progress.forwards,
        backwards=progress.backwards,
        adversarial=best.predicted,
        confidence=best.confidence,
        certified_radius=np.where(right, _finite(best.radius, threat), 0.0),
    )


def _under(
    threat: Threat, prepared: Prepared, items: Sequence[WorkItem], finished: Mapping[str, Progress]
) -> Outcomes:
    n = len(prepared.index)
    columns: dict[str, np.ndarray] = {
        "distance": np.where(prepared.right, np.inf, 0.0),
        "attack": np.full(n, "", dtype="U40"),
        "complete": ~prepared.right,
        "margin": np.full(n, np.nan),
        "forwards": np.zeros(n, dtype=np.int64),
        "backwards": np.zeros(n, dtype=np.int64),
        "adversarial": np.full(n, -1, dtype=np.int64),
        "confidence": np.full(n, -np.inf),
        "certified_radius": np.zeros(n),
    }
    for item in items:
        if item.name in finished:
            found = on_item(threat, prepared, item, finished[item.name])
            for name, column in columns.items():
                column[item.rows] = getattr(found, name)
    if not any(CATALOGUE[s.attack].proves for item in items for s in item.stages if s.norm == threat.norm):
        del columns["certified_radius"]
    return Outcomes(threat=threat, index=prepared.index, right=prepared.right, **columns)


def _finite(radius: np.ndarray, threat: Threat) -> np.ndarray:
    """Where there is no such input at all, the largest eps, which is as far as the curve asks."""
    return np.where(np.isfinite(radius), radius, at_least(threat.eps[-1]))


def _all_ran(norm: Norm, item: WorkItem, progress: Progress) -> bool:
    """Whether every stage for this norm ran; stages of other norms may be missing."""
    return all(position < len(progress.rows) for position, s in enumerate(item.stages) if s.norm == norm)


def adversarial(
    prepared: Prepared, norm: Norm, items: Sequence[WorkItem], finished: Mapping[str, Progress]
) -> dict[str, np.ndarray]:
    """The smallest counted adversarial example of each broken example under one norm, one row each.

    index: dataset position; x_adv: float32 in the domain, before normalisation; distance: widths of the domain;
    label, predicted: classes; attack: the stage that found it.
    """
    kept = []
    for item in items:
        if item.name in finished:
            best = finished[item.name].best[norm]
            broken = np.isfinite(best.distance) & prepared.right[item.rows]
            rows = item.rows[broken]
            kept.append(
                (rows, best.x_adv[broken], best.distance[broken], best.predicted[broken], best.attack[broken])
            )
    if not kept:
        return {}
    rows, x_adv, distance, predicted, attack = (np.concatenate(column) for column in zip(*kept, strict=True))
    return {
        "index": prepared.index[rows],
        "x_adv": x_adv,
        "distance": distance,
        "label": prepared.label[rows],
        "predicted": predicted,
        "attack": attack,
    }
