"""From outcomes to figures: clean accuracy, and per threat the curve with what is known about its truth.

The classes here are sections of report.json. Unfinished examples count as standing in every upper figure and as
broken in every lower one; they never shrink the denominator.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from auditor.audits.design import Alike, Design
from auditor.audits.outcomes import Outcomes, Status
from auditor.audits.statistics import Interval
from auditor.spec import Norm, Target, Threat, exact


class Section(BaseModel):
    """A part of report.json: unknown fields are skipped, since later versions may add some; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def absent(value: object) -> bool:
    """Of a field that only some audits have, and that is left out of the reports of the others."""
    return value is None


Effective = Annotated[float | None, Field(default=None, exclude_if=absent)]


class Clean(Section):
    """Accuracy on the untouched examples, by weight where they have weights. effective_size: how many independent examples
    tell as much, where examples have weights or groups; there the interval is Korn & Graubard's."""

    correct: int
    total: int
    accuracy: float
    interval: Interval
    effective_size: Effective


class Point(Section):
    """A curve at one eps.

    robust_accuracy: share of all examples that are right when clean with no counted adversarial example within eps.
    interval: 95 % for that share under these attacks; its lower end counts unfinished examples as broken.
    true_interval: 95 % for the accuracy under the best attack there is, from certified to standing.
    band: holds 95 % for all points of the curve together (DKW; Bonferroni's where examples have weights or groups).
    effective_size: how many independent examples tell as much, where examples have weights or groups.
    """

    eps: str
    value: float
    robust_accuracy: float
    interval: Interval
    true_interval: Interval
    band: Interval
    certified_accuracy: float | None
    broken_by: dict[str, int]
    unfinished: int
    effective_size: Effective


class ExampleRows(Section):
    """The outcome of each example, column by column. distance: widths of the domain, 0 when wrong clean, else null;
    adversarial and confidence: the class that the nearest counted point gets and how sure of it the model is, else null."""

    id: list[int]
    status: list[Status]
    distance: list[float | None]
    attack: list[str | None]
    complete: list[bool]
    certified_radius: list[float] | None
    adversarial: list[int | None] | None = None
    confidence: list[float | None] | None = None


class MedianDistance(Section):
    """The smallest distance within which at least half of all examples are wrong; null: beyond every one that was found."""

    value: float | None
    interval: tuple[float | None, float | None]


class Faced(Threat):
    """A threat with its goal: any other class than the label, or one class for all examples, or one each at random."""

    model_config = ConfigDict(extra="ignore")

    goal: Literal["untargeted", "targeted"] = "untargeted"
    target: Target | None = None


class Curve(Section):
    """One threat over its grid of eps, from one pass."""

    norm: Norm
    threat: Faced
    points: list[Point]
    examples: ExampleRows
    median_distance: MedianDistance
    remarks: list[str]


def clean(right: np.ndarray, design: Design | None = None) -> Clean:
    """Accuracy of (n,) bool with its 95 % interval. design: how they were drawn, one by one unless said."""
    design = design or Alike(len(right))
    return Clean(
        correct=int(np.sum(right)),
        total=len(right),
        accuracy=design.share(right),
        interval=(design.lower(right), design.upper(right)),
        effective_size=_effective(design, right),
    )


def curve(
    outcomes: Outcomes,
    design: Design | None = None,
    *,
    grey_levels: int | None = None,
    target: Target | None = None,
) -> Curve:
    """The whole curve of one threat. design: how the examples were drawn, one by one unless said; grey_levels: 255 for
    images that come as bytes, None where inputs have none; target: the class that had to be reached, None where any other
    would do."""
    threat, design = outcomes.threat, design or Alike(len(outcomes))
    points = [_point(outcomes, eps, design) for eps in threat.eps]
    goal: Literal["untargeted", "targeted"] = "untargeted" if target is None else "targeted"
    return Curve(
        norm=threat.norm,
        threat=Faced(norm=threat.norm, eps=threat.eps, goal=goal, target=target),
        points=points,
        examples=_rows(outcomes),
        median_distance=_median_distance(outcomes, design),
        remarks=_remarks(outcomes, points, grey_levels),
    )


def outcomes_of(curve: Curve) -> Outcomes:
    """The outcomes that a curve was made of, as far as the report keeps them."""
    rows = curve.examples
    return Outcomes(
        threat=Threat(norm=curve.threat.norm, eps=curve.threat.eps),
        index=np.array(rows.id, np.int64),
        right=np.array([status != Status.WRONG for status in rows.status], bool),
        distance=np.array([math.inf if d is None else d for d in rows.distance], np.float64),
        attack=np.array([attack or "" for attack in rows.attack], str),
        complete=np.array(rows.complete, bool),
        certified_radius=None if rows.certified_radius is None else np.array(rows.certified_radius, np.float64),
    )


def _point(outcomes: Outcomes, eps: str, design: Design) -> Point:
    standing, finished = outcomes.standing(eps), outcomes.finished_standing(eps)
    certified, upper = outcomes.certified(eps), design.upper(standing)
    return Point(
        eps=eps,
        value=float(exact(eps)),
        robust_accuracy=design.share(standing),
        interval=(design.lower(finished), upper),
        true_interval=(design.lower(certified), upper),
        band=design.band(finished, standing, len(outcomes.threat.eps)),
        certified_accuracy=None if outcomes.certified_radius is None else design.share(certified),
        broken_by=outcomes.broken_by(eps),
        unfinished=int(np.sum(standing)) - int(np.sum(finished)),
        effective_size=_effective(design, standing),
    )


def _effective(design: Design, holds: np.ndarray) -> float | None:
    return None if isinstance(design, Alike) else design.effective(holds)


def _rows(outcomes: Outcomes) -> ExampleRows:
    radius, found, sure = outcomes.certified_radius, outcomes.adversarial, outcomes.confidence
    return ExampleRows(
        id=outcomes.index.tolist(),
        status=outcomes.statuses(),
        distance=[finite(distance) for distance in outcomes.distance.tolist()],
        attack=[attack or None for attack in outcomes.attack.tolist()],
        complete=outcomes.complete.tolist(),
        certified_radius=None if radius is None else radius.tolist(),
        adversarial=None if found is None else [None if label < 0 else label for label in found.tolist()],
        confidence=None if sure is None else [finite(share) for share in sure.tolist()],
    )


def _median_distance(outcomes: Outcomes, design: Design) -> MedianDistance:
    # an unfinished example may still be broken nearer than what is known, but no nearer than a proof allows
    proved = np.zeros(len(outcomes)) if outcomes.certified_radius is None else outcomes.certified_radius
    smallest = np.where(outcomes.complete, outcomes.distance, np.minimum(outcomes.distance, proved))
    lower, upper = design.median_interval(smallest, outcomes.distance)
    return MedianDistance(value=finite(design.median(outcomes.distance)), interval=(finite(lower), finite(upper)))


def _remarks(outcomes: Outcomes, points: Sequence[Point], grey_levels: int | None) -> list[str]:
    remarks = []
    largest = points[-1]
    if outcomes.right.any() and not largest.broken_by:
        remarks.append(
            f"the largest eps, {largest.eps}, breaks nothing: "
            "the curve does not reach the budgets at which this model fails; ask for larger ones"
        )
    if grey_levels is not None and outcomes.threat.norm != "L0":
        below = [p.eps for p in points if exact(p.eps) * grey_levels < 1]
        if below:
            remarks.append(
                f"eps {', '.join(below)}: below one grey level (1/{grey_levels}), "
                "so that no image stored in whole levels can hold such a change"
            )
    return remarks


def finite(value: float) -> float | None:
    """The number, or None in place of infinity, which JSON cannot write."""
    return value if math.isfinite(value) else None
