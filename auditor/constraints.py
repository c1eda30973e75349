"""What the features of a table may be, as it is declared; `data.rules` says what that means for numbers.

A feature goes by its column's name, or by its position from 0 where the data have no names.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from auditor.errors import SpecError
from auditor.values import Frozen, exact


def _positive(number: Any) -> str:
    text = repr(number) if isinstance(number, float) else str(number)
    try:
        fine = not isinstance(number, bool) and 1e-30 < exact(text) < 1e30
    except SpecError:
        fine = False
    if not fine:
        raise ValueError(f"{text} is no number above 0")
    return text


# A positive rational number, kept as it was written.
Positive = Annotated[str, BeforeValidator(_positive)]
_Name = Annotated[str, BeforeValidator(str), Field(min_length=1, max_length=500)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Feature(Frozen):
    """One numeric column.

    immutable: an attacker cannot change it; direction: only upwards, or only downwards. range: where its values lie;
    an end may be open. integer: whole numbers only; step: multiples of that number only. scale: the change that
    counts as a distance of 1; unless given, the width of the range, else of the domain, else 1.
    """

    immutable: bool = False
    direction: Literal["up", "down"] | None = None
    range: tuple[_Finite | None, _Finite | None] | None = None
    integer: bool = False
    step: Positive | None = None
    scale: Positive | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "Feature":
        lower, upper = self.range or (None, None)
        if lower is not None and upper is not None and lower > upper:
            raise ValueError(f"the range {lower:g} to {upper:g} is empty")
        if self.integer and self.step is not None:
            raise ValueError("integer means a step of 1; give one of the two")
        return self

    @property
    def spacing(self) -> str | None:
        """The step, where there is one."""
        return "1" if self.integer else self.step


class Group(Frozen):
    """Columns of which exactly one is 1 and the others are 0: a category. cost: the distance of another category."""

    columns: tuple[_Name, ...] = Field(min_length=2, max_length=100_000)
    cost: Positive = "1"
    immutable: bool = False


class Relation(Frozen):
    """The sum of factor * column is at most a number."""

    terms: dict[_Name, _Finite] = Field(min_length=1, max_length=1000)
    at_most: _Finite


class Constraints(Frozen):
    """Which rows of a table exist, and which may take the place of which."""

    features: dict[_Name, Feature] = Field(default={}, max_length=100_000)
    groups: dict[_Name, Group] = Field(default={}, max_length=100_000)
    relations: tuple[Relation, ...] = Field(default=(), max_length=1000)

    @property
    def separable(self) -> bool:
        """Whether each column can change by itself, whatever the others are."""
        return not self.relations and all(group.immutable for group in self.groups.values())

    @property
    def summary(self) -> str:
        """How many of each kind, in words."""
        features = self.features.values()
        counts = {
            "immutable": sum(f.immutable for f in features) + sum(g.immutable for g in self.groups.values()),
            "in one direction": sum(f.direction is not None for f in features),
            "with a range": sum(f.range is not None for f in features),
            "in steps": sum(f.spacing is not None for f in features),
            "with a scale": sum(f.scale is not None for f in features),
        }
        said = [f"{count} {what}" for what, count in counts.items() if count]
        said += [f"{len(self.groups)} categories"] if self.groups else []
        said += [f"{len(self.relations)} relations"] if self.relations else []
        return ", ".join(said) or f"{len(self.features)} features, free"

    @model_validator(mode="after")
    def _each_column_once(self) -> "Constraints":
        if not (self.features or self.groups or self.relations):
            raise ValueError("no constraint is declared; give features, groups or relations")
        seen = {name: f"a feature, {name}," for name in self.features}
        for name, group in self.groups.items():
            for column in group.columns:
                if column in seen:
                    raise ValueError(f"the column {column} belongs to {seen[column]} and to the group {name}")
                seen[column] = f"the group {name}"
        return self
