"""The adversarial examples of one audit, given to the model of another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.audits.design import Design
from auditor.audits.outcomes import Outcomes, at_most
from auditor.audits.paired import pairs
from auditor.audits.subject import Subject
from auditor.audits.summary import outcomes_of
from auditor.report.comparison.schema import Transfer, TransferPoint
from auditor.report.schema import Report
from auditor.spec import exact


@dataclass(frozen=True)
class Audited:
    """A finished audit with what it was about. folder: of its files; name: in the comparison."""

    name: str
    subject: Subject
    report: Report
    folder: Path


def exchange(source: Audited, target: Audited, watch: Callable[[int, int], None]) -> list[Transfer]:
    """Per norm, the source's nearest counted adversarial examples on the target, each judged by the target's untouched
    file like any other claimed one, and measured anew.

    watch: told how many points of how many are done. An example that only one audit holds is not given.
    """
    theirs, ours = pairs(source.report.dataset.digest, target.report.dataset.digest)
    place = dict(zip(np.array(source.report.dataset.index)[theirs].tolist(), ours.tolist(), strict=True))
    with np.load(source.folder / "adversarial.npz") as stored:
        norms, index, x_adv = stored["norm"], stored["index"], stored["x_adv"]
    outcomes = {curve.norm: outcomes_of(curve) for curve in target.report.curves}
    rows = np.array([place.get(position, -1) for position in index.tolist()], np.int64)
    distance = _distances(target.subject, index, x_adv, norms)
    largest = {norm: at_most(found.threat.eps[-1]) for norm, found in outcomes.items()}
    given = [
        row
        for row in np.flatnonzero(rows >= 0).tolist()
        if outcomes[norms[row]].right[rows[row]] and distance[row] <= largest[norms[row]]
    ]
    broken = _broken(target, rows, x_adv, given, watch)
    transfers = []
    for norm, own in outcomes.items():
        mine = [row for row in given if norms[row] == norm]
        found = np.full(len(own), np.inf)
        found[rows[mine]] = distance[mine]
        passed = np.zeros(len(own), dtype=bool)
        passed[rows[mine]] = broken[mine]
        points = [_point(own, eps, found, passed, target.report.dataset.design) for eps in own.threat.eps]
        transfers.append(Transfer(source=source.name, target=target.name, norm=norm, points=points))
    return transfers


def _distances(subject: Subject, index: np.ndarray, x_adv: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """(m,) float64 of each point in its own norm from its clean example; inf where it may not take its place."""
    distance = np.full(len(index), np.inf)
    for row, (position, norm) in enumerate(zip(index, norms.tolist(), strict=True)):
        x, one = subject.dataset.fetch(np.array([position])), x_adv[row : row + 1]
        if subject.space.admits(x, one)[0]:
            distance[row] = subject.space.distances(x, one)[norm][0]
    return distance


def _broken(
    target: Audited, rows: np.ndarray, x_adv: np.ndarray, given: list[int], watch: Callable[[int, int], None]
) -> np.ndarray:
    """(m,) bool: the points that count on the target. rows: (m,) the place of each one's example in the target's audit."""
    verifier, dataset = target.subject.verifier(), target.report.dataset
    broken = np.zeros(len(rows), dtype=bool)
    for done, row in enumerate(given, start=1):
        place = rows[row]
        aim = None if dataset.target is None else dataset.target[place]
        broken[row] = verifier.check(x_adv[row], dataset.label[place], aim).counts
        watch(done, len(given))
    return broken


def _point(own: Outcomes, eps: str, found: np.ndarray, passed: np.ndarray, design: Design) -> TransferPoint:
    within, standing = found <= at_most(eps), own.standing(eps)
    return TransferPoint(
        eps=eps,
        value=float(exact(eps)),
        tried=int(np.sum(within)),
        broken=int(np.sum(within & passed)),
        robust_accuracy=design.share(standing),
        with_transferred=design.share(standing & ~(within & passed)),
    )
