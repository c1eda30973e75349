"""From what became of the examples under threats beside the norms to figures.

Accuracy under a threat is the share of all examples that are right when clean and at every point of every setting.
The accuracy of one setting is the share of all examples, wrong ones included, that are right at its points: for
corruptions what the literature reports. What a budget left unfinished enters as bounds: as right in every value, and
as wrong in the lower end of its interval.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.attacks.grid import Grid
from auditor.attacks.space import Space
from auditor.audits.checks import Check, beats_cascade
from auditor.audits.design import Alike, Design
from auditor.audits.other_sections import ClassRow, OtherFigures, OtherSetting
from auditor.audits.others import COUNTS, OtherItem, OtherResult
from auditor.audits.outcomes import Outcomes
from auditor.audits.prepare import Prepared
from auditor.audits.statistics import Interval
from auditor.threats.threat import OtherThreat


@dataclass(frozen=True)
class _Found:
    """All sampled examples under some settings. share: (n, settings), 1 where unfinished; standing: (n,) bool."""

    share: np.ndarray
    standing: np.ndarray
    done: np.ndarray


def other_figures(
    prepared: Prepared,
    threats: Sequence[OtherThreat],
    items: Sequence[OtherItem],
    results: Mapping[tuple[str, str], OtherResult],
    design: Design | None = None,
) -> list[OtherFigures]:
    """One entry per threat that was begun, and one over all corruptions where several were. results: by item and
    threat; design: how the examples were drawn, one by one unless said."""
    design = design or Alike(len(prepared.index))
    figures, corruptions = [], []
    for threat in threats:
        mine = [(item, results[item.name, threat.name]) for item in items if (item.name, threat.name) in results]
        if mine:
            found = _gathered(prepared, threat, mine)
            if threat.kind == "corruption":
                corruptions.append(found)
            figures.append(_figures(prepared, threat, found, design).model_copy(update=_spent(threat, mine)))
    if len(corruptions) > 1:
        figures.append(_together(prepared, corruptions, design))
    return figures


def against_curves(
    prepared: Prepared,
    threats: Sequence[OtherThreat],
    items: Sequence[OtherItem],
    results: Mapping[tuple[str, str], OtherResult],
    outcomes: Sequence[Outcomes],
    space: Space,
) -> Iterator[Check]:
    """A check per threat and norm of those whose points lie in the audited balls (noise, universal perturbations): they
    must not break what the attacks left standing."""
    for threat in threats:
        mine = [(item, results[item.name, threat.name]) for item in items if (item.name, threat.name) in results]
        for found in outcomes:
            norm, eps = found.threat.norm, found.threat.eps
            columns = {s["eps"]: i for i, s in enumerate(threat.settings) if s.get("norm") == norm}
            if not (mine and columns):
                continue
            position = np.full(len(found), len(eps) - 1)
            for item, result in mine:
                broken = np.stack([~result.judged.standing[:, columns[e]] for e in eps], axis=1)
                first = np.where(broken.any(axis=1), broken.argmax(axis=1), len(eps))
                position[item.rows] = first - 1
            cascade = Grid(found.threat, space).critical(found.distance)
            rows = found.right & found.complete
            yield beats_cascade(threat.name, norm, eps, position[rows], cascade[rows])


def _gathered(prepared: Prepared, threat: OtherThreat, mine: Sequence[tuple[OtherItem, OtherResult]]) -> _Found:
    n = len(prepared.index)
    share = np.ones((n, len(threat.settings)))
    standing, done = prepared.right.copy(), np.zeros(n, dtype=bool)
    for item, result in mine:
        share[item.rows], done[item.rows] = result.judged.right, True
        standing[item.rows] &= result.judged.standing.all(axis=1)
    return _Found(share, standing, done)


def _figures(prepared: Prepared, threat: OtherThreat, found: _Found, design: Design) -> OtherFigures:
    about = {
        "threat": threat.as_json(),
        "settings": _settings(threat, found, design),
        "access": prepared.gradient.seen_beside(threat),
    }
    return _section(prepared, found, design, averaged=not threat.search, **about)


def _together(prepared: Prepared, corruptions: Sequence[_Found], design: Design) -> OtherFigures:
    found = _Found(
        share=np.concatenate([c.share for c in corruptions], axis=1),
        standing=np.all([c.standing for c in corruptions], axis=0),
        done=np.all([c.done for c in corruptions], axis=0),
    )
    about = {"name": "common-corruptions", "kind": "corruption", "corruptions": len(corruptions)}
    section = _section(prepared, found, design, averaged=True, threat=about)
    return section.model_copy(update={"mean_error": 1 - (section.mean_accuracy or 0.0)})


def _section(prepared: Prepared, found: _Found, design: Design, *, averaged: bool, **about: Any) -> OtherFigures:
    if averaged:
        mean, interval = _mean(found.share.mean(axis=1), found.done, design)
        about |= {"mean_accuracy": mean, "mean_interval": interval}
    return OtherFigures(
        accuracy=design.share(found.standing),
        interval=(design.lower(found.standing & found.done), design.upper(found.standing)),
        by_class=_by_class(prepared.label, found.standing, design),
        broken=prepared.index[prepared.right & ~found.standing].tolist(),
        unfinished=int((~found.done).sum()),
        **about,
    )


def _settings(threat: OtherThreat, found: _Found, design: Design) -> list[OtherSetting]:
    rows = []
    for position, setting in enumerate(threat.settings):
        accuracy, interval = _mean(found.share[:, position], found.done, design)
        rows.append(OtherSetting(setting=dict(setting), accuracy=accuracy, interval=interval))
    return rows


def _mean(share: np.ndarray, done: np.ndarray, design: Design) -> tuple[float, Interval]:
    """The mean of (n,) numbers from 0 to 1 and its interval, that of a share for successes and failures."""
    smallest = np.where(done, share, 0.0)
    if np.isin(share, (0.0, 1.0)).all():
        return design.share(share == 1), (design.lower(smallest == 1), design.upper(share == 1))
    return design.mean(share), (design.mean_limits(smallest)[0], design.mean_limits(share)[1])


def _by_class(label: np.ndarray, standing: np.ndarray, design: Design) -> list[ClassRow]:
    classes = [(int(y), label == y) for y in np.unique(label)]
    return [
        ClassRow(label=y, examples=int(np.sum(own)), accuracy=design.rows(own).share(standing[own]))
        for y, own in classes
    ]


def _spent(threat: OtherThreat, mine: Sequence[tuple[OtherItem, OtherResult]]) -> dict[str, Any]:
    spent: dict[str, Any] = {name: sum(getattr(result.judged, name) for _, result in mine) for name in COUNTS}
    for name in ("forwards", "backwards"):
        spent[name] = sum(
            int(getattr(result.judged, name).sum()) + getattr(result.learning, name) for _, result in mine
        )
    return spent | {"seconds": sum(result.seconds for _, result in mine)}
