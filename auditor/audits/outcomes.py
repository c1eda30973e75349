"""What is known of every audited example under one threat: the value that attacks fill and a summary reads."""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np

from auditor.spec import Threat, exact


class Status(StrEnum):
    """Where an example stands under a threat; the first that applies, from the top."""

    WRONG = "wrong"  # wrong when clean
    BROKEN = "broken"  # a counted adversarial example is known, at whatever distance, above the largest eps too
    CERTIFIED = "certified"  # a certificate covers the largest eps
    NOT_TRIED = "not_tried"  # a planned stage did not run on it: budget or interruption
    SURVIVED = "survived"  # everything ran, nothing was found


@dataclass(frozen=True)
class Outcomes:
    """One threat, all audited examples, one row each.

    index: (n,) int64, positions in the dataset. right: (n,) bool, right when clean.
    distance: (n,) float64, the smallest counted distance in widths of the domain; 0 when wrong clean, inf where none.
    attack: (n,) str, the stage that found it, "" where none.
    complete: (n,) bool, whether every planned stage ran on it; the others enter every figure as bounds.
    certified_radius: (n,) float64, no adversarial example lies within it; 0 where nothing is proved.
    margin: (n,) float64, how far the found point lies beyond the boundary, as a share of the range of its scores;
        NaN where none.
    forwards, backwards: (n,) int64, passes spent on it.
    adversarial: (n,) int64, the class that the found point gets, -1 where none; confidence: (n,) float64, how sure the
        model is of it, -inf where none or where the model gives labels only.
    """

    threat: Threat
    index: np.ndarray
    right: np.ndarray
    distance: np.ndarray
    attack: np.ndarray
    complete: np.ndarray
    certified_radius: np.ndarray | None = None
    margin: np.ndarray | None = None
    forwards: np.ndarray | None = None
    backwards: np.ndarray | None = None
    adversarial: np.ndarray | None = None
    confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.index)
        for name, value in vars(self).items():
            if name != "threat" and value is not None and np.shape(value) != (n,):
                raise ValueError(f"{name} has shape {np.shape(value)}, index has {n} rows")
        if not np.all(self.distance >= 0) or np.any(self.distance[~self.right] != 0):
            raise ValueError("distances must be numbers from 0, and 0 for every example that is wrong when clean")

    def __len__(self) -> int:
        return len(self.index)

    def standing(self, eps: str) -> np.ndarray:
        """(n,) bool: right when clean and no counted adversarial example within eps; unfinished ones included."""
        return self.right & (self.distance > at_most(eps))

    def finished_standing(self, eps: str) -> np.ndarray:
        """(n,) bool: standing after everything that was planned, or by certificate."""
        return self.standing(eps) & (self.complete | self.certified(eps))

    def certified(self, eps: str) -> np.ndarray:
        """(n,) bool: proved to have no adversarial example within eps.

        A certificate that a counted point contradicts is dropped.
        """
        if self.certified_radius is None:
            return np.zeros(len(self), bool)
        held = self.right & (self.certified_radius < self.distance)
        return held & (self.certified_radius >= at_least(eps))

    def broken_by(self, eps: str) -> dict[str, int]:
        """How many examples each attack holds the nearest counted point of, within eps, by falling count."""
        counts = Counter(self.attack[self.right & ~self.standing(eps)].tolist())
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def statuses(self) -> list[Status]:
        """(n,) the status of each example, over the whole grid of eps."""
        certified = self.certified(self.threat.eps[-1])
        chosen = np.select(
            [~self.right, np.isfinite(self.distance), certified, ~self.complete],
            [Status.WRONG, Status.BROKEN, Status.CERTIFIED, Status.NOT_TRIED],
            Status.SURVIVED,
        )
        return [Status(status) for status in chosen.tolist()]


def at_most(eps: str) -> float:
    """The largest float64 that is at most the rational eps: comparing distances with it is exact."""
    nearest = float(exact(eps))
    return nearest if Fraction(nearest) <= exact(eps) else math.nextafter(nearest, -math.inf)


def at_least(eps: str) -> float:
    """The smallest float64 that is at least the rational eps."""
    nearest = float(exact(eps))
    return nearest if Fraction(nearest) >= exact(eps) else math.nextafter(nearest, math.inf)


def example_digests(x: np.ndarray, y: np.ndarray) -> tuple[str, ...]:
    """SHA-256 of each input, as float32 in the domain, with its label: what pairs two audits of the same examples.

    x: (n, *shape), y: (n,) integers.
    """
    head = str(x.shape[1:]).encode()
    rows = np.ascontiguousarray(x, dtype="<f4")
    return tuple(
        hashlib.sha256(head + int(label).to_bytes(8, "little", signed=True) + row.tobytes()).hexdigest()
        for row, label in zip(rows, y, strict=True)
    )
