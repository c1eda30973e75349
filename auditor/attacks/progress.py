"""Where a slice of examples stands between two stages: what is known of each example, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from auditor.graph.reading import EXCLUSIVE, Reading
from auditor.spec import Norm


@dataclass(frozen=True)
class Examples:
    """A slice. index: (n,) positions in the dataset; x: (n, *shape) float32; y: (n,); right: (n,) right when clean.

    target: (n,) the class that has to be reached, beside the label, None where any other will do; reading: how scores
    read as answers, without refusals where there is a target; start: (n, *shape)
    points that are of that class, x itself where none is known, for attacks that begin at such a point.
    """

    index: np.ndarray
    x: np.ndarray
    y: np.ndarray
    right: np.ndarray
    target: np.ndarray | None = None
    start: np.ndarray | None = None
    reading: Reading = EXCLUSIVE


@dataclass(frozen=True)
class Best:
    """One norm: each example's nearest counted adversarial example. distance: (n,) float64 in widths, inf if none;
    predicted and confidence: the class that the upload gives there, and how sure of it it is; radius: the distance within
    which a stage proved that there is none, 0 where nothing is proved."""

    distance: np.ndarray
    x_adv: np.ndarray
    attack: np.ndarray
    margin: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    radius: np.ndarray

    @classmethod
    def none(cls, examples: Examples) -> "Best":
        n = len(examples.index)
        return cls(
            distance=np.full(n, np.inf),
            x_adv=examples.x.copy(),
            attack=np.full(n, "", dtype="U40"),
            margin=np.full(n, -np.inf),
            predicted=np.full(n, -1, dtype=np.int64),
            confidence=np.full(n, -np.inf),
            radius=np.zeros(n),
        )

    def exact(self, norm: Norm) -> np.ndarray:
        """Where nothing is nearer than what is known, by proof. (n,) bool"""
        nearest = self.distance - 1 if norm == "L0" else self.distance * (1 - 1e-5)
        return (self.radius > 0) & (self.radius >= nearest)

    def copy(self) -> "Best":
        return Best(*(array.copy() for array in vars(self).values()))


@dataclass(frozen=True)
class StageRow:
    """What a stage did on a slice: examples tried and newly broken or brought nearer, what it cost.

    halvings: how often the plan's batch was halved to fit into memory. Of a transfer attack, forwards and backwards are
    the upload's and the surrogate's together, queries the upload's alone, and crossings say per eps of the grid on how
    many examples it was tried, on how many the surrogate was fooled, the upload broken, and both.
    """

    stage: str
    tried: int
    broken: int
    claims: int
    refuted: int
    forwards: int
    backwards: int
    halvings: int = 0
    queries: int = 0
    crossings: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """Where a slice stands. forwards, backwards: (n,) int64; skipped: per norm (n,) bool, the rows that a budget kept
    one of the norm's stages from."""

    best: Mapping[Norm, Best]
    forwards: np.ndarray
    backwards: np.ndarray
    skipped: Mapping[Norm, np.ndarray]
    rows: tuple[StageRow, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether a budget kept a stage from any row."""
        return any(skipped.any() for skipped in self.skipped.values())

    @classmethod
    def start(cls, examples: Examples, norms: Sequence[Norm]) -> "Progress":
        n = len(examples.index)
        zeros, nobody = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        return cls({norm: Best.none(examples) for norm in norms}, zeros, zeros, dict.fromkeys(norms, nobody))
