"""Declared constraints as rules about numbers, checked exactly: no tolerance anywhere.

Numbers of a declaration are taken as float32, as data are: a range that ends at 0.1 holds the value that 0.1 becomes.
A feature with a step is the float32 nearest to a whole multiple of it. Relations are summed in rational numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from auditor.constraints import Constraints, Feature
from auditor.data.domain import Box, bounds
from auditor.errors import SpecError
from auditor.values import exact


@dataclass(frozen=True)
class OneHot:
    """A category: positions of its columns, the distance of another one, and whether it may change."""

    name: str
    columns: np.ndarray
    cost: Fraction
    immutable: bool


@dataclass(frozen=True)
class Halfspace:
    """Rows whose sum of factors * columns is at most `at_most`."""

    columns: np.ndarray
    factors: np.ndarray
    at_most: float

    def holds(self, row: np.ndarray) -> bool:
        """row: (d,) finite."""
        terms = zip(self.factors.tolist(), row[self.columns].tolist(), strict=True)
        return sum(Fraction(a) * Fraction(v) for a, v in terms) <= Fraction(self.at_most)


@dataclass(frozen=True)
class Rules:
    """All about the d features of one example, flattened.

    names: of the columns; lower, upper: (d,) float32; step: (d,) float64, 0 where there is none; scale: what a distance
    of 1 is, per column; fixed: (d,) bool, immutable; direction: (d,) 1 for up only, -1 for down only, else 0; grouped:
    (d,) bool, columns of a category.
    """

    names: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    step: np.ndarray
    scale: tuple[Fraction, ...]
    fixed: np.ndarray
    direction: np.ndarray
    grouped: np.ndarray
    groups: tuple[OneHot, ...]
    relations: tuple[Halfspace, ...]

    @classmethod
    def of(
        cls, declared: Constraints | None, names: Sequence[str], domain: Box | None, *, carried: int = 0
    ) -> "Rules":
        """The rules for examples of these columns, of which so many at the end only come along: they stay, wherever they lie.
        Raises SpecError for columns that are not there."""
        declared = declared or Constraints.model_construct()
        d, place = len(names), _Places(names)
        features = {place.of(name): feature for name, feature in declared.features.items()}
        if len(features) < len(declared.features):
            raise SpecError("the constraints name a column twice, by its name and by its position")
        along = np.arange(d) >= d - carried
        if any(along[position] for position in features):
            raise SpecError(
                f"the constraints speak of {', '.join(names[d - carried :][:4])}: they come with each example and stay"
            )
        every = [features.get(position, Feature()) for position in range(d)]
        groups = tuple(
            OneHot(name, np.array([place.of(c) for c in group.columns]), exact(group.cost), group.immutable)
            for name, group in declared.groups.items()
        )
        grouped = np.zeros(d, dtype=bool)
        for group in groups:
            if grouped[group.columns].any() or len(set(group.columns.tolist())) < len(group.columns):
                raise SpecError(f"a column of the group {group.name} is named twice among the constraints")
            grouped[group.columns] = True
        low, high = bounds(domain)
        ends = np.array([feature.range or (None, None) for feature in every], dtype=object).reshape(d, 2)
        return cls(
            names=tuple(names),
            lower=np.where(along, np.float32(-np.inf), _ends(ends[:, 0], low, max)),
            upper=np.where(along, np.float32(np.inf), _ends(ends[:, 1], high, min)),
            step=np.array([float(exact(f.spacing)) if f.spacing else 0.0 for f in every]),
            scale=tuple(_scale(feature, domain) for feature in every),
            fixed=along | np.array([f.immutable for f in every]),
            direction=np.array([{"up": 1, "down": -1}.get(f.direction or "", 0) for f in every]),
            grouped=grouped,
            groups=groups,
            relations=tuple(
                Halfspace(
                    np.array([place.of(name) for name in relation.terms]),
                    np.array(list(relation.terms.values())),
                    relation.at_most,
                )
                for relation in declared.relations
            ),
        )

    def on_step(self, row: np.ndarray) -> np.ndarray:
        """Which features are multiples of their step. (d,) -> (d,) bool"""
        spacing = np.where(self.step > 0, self.step, 1.0)
        nearest = (np.rint(row.astype(np.float64) / spacing) * spacing).astype(np.float32)
        return (self.step == 0) | (nearest == row)

    def broken(self, row: np.ndarray) -> str | None:
        """Why a row, (d,) float32, does not exist; None where it does."""
        outside = ~self.grouped & ~((row >= self.lower) & (row <= self.upper))
        if outside.any():
            at = int(outside.argmax())
            return f"{self.names[at]} is {row[at]:g}, outside {self.lower[at]:g} to {self.upper[at]:g}"
        if not np.isfinite(row).all():
            return "a value is not finite"
        off = ~self.on_step(row)
        if off.any():
            at = int(off.argmax())
            return f"{self.names[at]} is {row[at]:g}, no multiple of {self.step[at]:g}"
        for group in self.groups:
            values = row[group.columns]
            if not (np.isin(values, (0, 1)).all() and values.sum() == 1):
                return f"the columns of {group.name} are not one 1 among zeros"
        for relation in self.relations:
            if not relation.holds(row):
                return f"{self._written(relation)} does not hold"
        return None

    def admits(self, row: np.ndarray, other: np.ndarray) -> bool:
        """Whether `other` exists and may take the place of `row`. (d,) float32, both"""
        if self.broken(other) is not None or (other != row)[self.fixed].any():
            return False
        if any(group.immutable and (other != row)[group.columns].any() for group in self.groups):
            return False
        change = other.astype(np.float64) - row
        return bool((change * self.direction >= 0).all())

    def _written(self, relation: Halfspace) -> str:
        terms = zip(relation.factors.tolist(), relation.columns.tolist(), strict=True)
        return " + ".join(f"{a:g} {self.names[c]}" for a, c in terms) + f" <= {relation.at_most:g}"


def _ends(declared: np.ndarray, of_domain: np.float32, inner: Callable[..., np.float32]) -> np.ndarray:
    """(d,) float32 ends of the ranges, inside the domain."""
    return np.array([of_domain if e is None else inner(of_domain, np.float32(e)) for e in declared], dtype=np.float32)


class _Places:
    """Columns by their names, or by their positions."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known: Mapping[str, int] = {str(i): i for i in range(len(names))} | {n: i for i, n in enumerate(names)}

    def of(self, name: str) -> int:
        if name not in self._known:
            listed = ", ".join(self._names[:8]) + (", …" if len(self._names) > 8 else "")
            raise SpecError(f"the constraints speak of a column '{name}'; the data have {len(self._names)}: {listed}")
        return self._known[name]


def _scale(feature: Feature, domain: Box | None) -> Fraction:
    if feature.scale is not None:
        return exact(feature.scale)
    lower, upper = feature.range or (None, None)
    if lower is not None and upper is not None and upper > lower:
        return Fraction(repr(upper)) - Fraction(repr(lower))
    return Fraction(1) if domain is None else Fraction(domain[1]) - Fraction(domain[0])
