"""What specifications are made of: frozen, validated values, and rational numbers as they were written."""

import re
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from auditor.errors import SpecError

_NUMBER = re.compile(r"\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?(/\d{1,30}(\.\d{1,30})?)?")


class Frozen(BaseModel):
    """A value: validated once, never changed, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def exact(text: str) -> Fraction:
    """The rational number that `text` writes, such as 8/255, 0.03 or 0.5/255; SpecError for anything else."""
    if not _NUMBER.fullmatch(text):
        raise SpecError(f"'{text}' is not a number from 0 on; write it like 8/255 or 0.03")
    top, _, bottom = text.partition("/")
    if bottom and Fraction(bottom) == 0:
        raise SpecError(f"'{text}' divides by zero")
    return Fraction(top) / Fraction(bottom or 1)
