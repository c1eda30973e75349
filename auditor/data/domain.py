"""The box that inputs live in, and how eight-bit grey levels are laid into it."""

import math
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DatasetError

Box = tuple[float, float]

LEVELS = 256


class Undeclared(Enum):
    """Tells "nobody said" apart from None, which is the declaration that there is no box."""

    UNDECLARED = "undeclared"


UNDECLARED: Final = Undeclared.UNDECLARED
Domain = Box | None | Undeclared

# Rounding of a float32 pipeline puts a white pixel at 1.0000001; more than this share of the width is a mistake.
_ROUNDING = 1e-6


def check_domain(domain: Domain) -> None:
    """Raises DatasetError unless the domain is none, undeclared, or two finite numbers in rising order."""
    if domain is None or isinstance(domain, Undeclared):
        return
    lower, upper = domain
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise DatasetError(
            f"The domain {lower:g},{upper:g} is not a range: declare two finite numbers, the smaller first, or none."
        )


def declared_domain(domain: Domain, name: str, dtype: str) -> Box | None:
    """The domain of values in units that only the user knows; DatasetError when it was left out."""
    if isinstance(domain, Undeclared):
        raise DatasetError(
            f"{name}: the range of its {dtype} values must be declared, it is never guessed from the values. "
            "Pass the smallest and largest value an input may take (--domain 0,1), or --domain none for features "
            "without limits."
        )
    return domain


def domain_of_levels(domain: Domain, scaled: Box | None, name: str) -> tuple[Box | None, Box]:
    """Where eight-bit data live. -> (domain, the values that levels 0 and 255 get)

    `scaled` is where a declared scale sends the levels, None when no scale was declared: then they fill the declared
    domain, and [0, 1] when that is undeclared or none. Raises DatasetError when scale and domain disagree.
    """
    if domain is None:
        return None, scaled or (0.0, 1.0)
    if isinstance(domain, Undeclared):
        ends = scaled or (0.0, 1.0)
        return ends, ends
    if scaled is not None and not np.allclose(scaled, domain, rtol=0, atol=1e-6 * (domain[1] - domain[0])):
        raise DatasetError(
            f"{name}: the declared scale sends the grey levels 0..255 to {_box(scaled)}, but the declared domain is "
            f"{_box(domain)}. Leave one of the two out, or make them agree."
        )
    return domain, domain


def level_values(ends: Box, levels: int = LEVELS) -> NDArray[np.float32]:
    """The value of each grey level, (levels,) float32, evenly spaced; exactly value / 255 for 256 in [0, 1]."""
    lower, upper = ends
    return (lower + (upper - lower) * np.arange(levels) / (levels - 1)).astype(np.float32)


def level_of(xp: Any, x: Any, ends: Box, steps: int) -> Any:
    """The number of the level nearest to each value, int64, where `steps` lie between the ends."""
    return xp.rint((x.astype(xp.float64) - ends[0]) * (steps / (ends[1] - ends[0]))).astype(xp.int64)


def bounds(domain: Box | None) -> tuple[np.float32, np.float32]:
    """The smallest and the largest float32 number inside the domain; infinite where there is none."""
    if domain is None:
        return np.float32(-np.inf), np.float32(np.inf)
    lower, upper = np.float32(domain[0]), np.float32(domain[1])
    if float(lower) < domain[0]:
        lower = np.nextafter(lower, np.float32(np.inf))
    if float(upper) > domain[1]:
        upper = np.nextafter(upper, np.float32(-np.inf))
    return lower, upper


def check_values(
    x: NDArray[np.float32], index: NDArray[np.int64], domain: Box | None, name: str
) -> NDArray[np.float32]:
    """x: (n, *shape) examples at the positions `index` (n,) -> x, clipped where rounding put it just outside.

    Raises DatasetError naming the first bad example for values that are not finite or lie outside the domain.
    """
    axes = tuple(range(1, x.ndim))
    bad = ~np.isfinite(x).all(axis=axes)
    if bad.any():
        raise DatasetError(
            f"{name}: {int(bad.sum())} of the {len(x)} examples read hold NaN or infinite values, the first at "
            f"position {int(index[bad.argmax()])}. Remove or repair them."
        )
    if domain is None or x.size == 0:
        return x
    slack = _ROUNDING * (domain[1] - domain[0])
    outside = ((x < domain[0] - slack) | (x > domain[1] + slack)).any(axis=axes)
    if outside.any():
        raise DatasetError(
            f"{name}: its values go from {x.min():g} to {x.max():g}, outside the domain {_box(domain)}; the first such "
            f"example is at position {int(index[outside.argmax()])}. {_likely_cause(x, domain)}"
        )
    return np.clip(x, *bounds(domain))


def _likely_cause(x: NDArray[np.float32], domain: Box) -> str:
    if domain == (0.0, 1.0) and x.min() >= 0 and 1 < x.max() <= 255:
        return (
            "They look like grey levels 0..255: store them as uint8, divide them by 255, or declare --domain 0,255."
        )
    if x.min() < 0 <= domain[0]:
        return (
            "They look normalised already: give the values from before normalisation and declare --mean and --std, "
            "or declare the range they truly have."
        )
    return "Declare the range that inputs of this model may take."


def _box(box: Box) -> str:
    return f"[{box[0]:g}, {box[1]:g}]"
