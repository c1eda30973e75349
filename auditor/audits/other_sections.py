"""What a report says of threats beside the norms: sections of report.json, apart from how they come about, so that reading a
report loads no attack."""

from typing import Any

from auditor.audits.statistics import Interval
from auditor.audits.summary import Section


class OtherSetting(Section):
    """One setting of a threat: accuracy of all examples over its points, with a 95 % interval."""

    setting: dict[str, Any]
    accuracy: float
    interval: Interval


class ClassRow(Section):
    """Accuracy under a threat of the examples of one label."""

    label: int
    examples: int
    accuracy: float


class OtherFigures(Section):
    """Accuracy under a threat that has no curve.

    accuracy: share of all examples that are right when clean and at every point of every setting. mean_accuracy: of the
    settings, where no attacker searches among them; mean_error: the rest, over all corruptions that were run (the mean
    corruption error, not divided by another model's). broken: positions in the dataset of examples that are right when
    clean and wrong somewhere. claims, refuted: points that the attacked copy gets wrong, and those of them that the upload
    does not.
    """

    threat: dict[str, Any]
    accuracy: float
    interval: Interval
    access: str | None = None
    mean_accuracy: float | None = None
    mean_interval: Interval | None = None
    mean_error: float | None = None
    settings: list[OtherSetting] = []
    by_class: list[ClassRow] = []
    broken: list[int] = []
    unfinished: int = 0
    claims: int | None = None
    refuted: int | None = None
    forwards: int | None = None
    backwards: int | None = None
    seconds: float | None = None
