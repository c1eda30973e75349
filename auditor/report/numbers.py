"""Numbers as a reader wants them."""

from collections.abc import Sequence


def percent(share: float | None) -> str:
    """A share as 43.2 %; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def interval(limits: Sequence[float | None]) -> str:
    """Two shares as 40.1 to 46.3 %."""
    lower, upper = limits
    return "–" if lower is None or upper is None else f"{100 * lower:.1f} to {100 * upper:.1f} %"


def size(distance: float | None) -> str:
    """A distance to four digits; a dash where there is none."""
    return "–" if distance is None else f"{distance:.4g}"


def count(number: int) -> str:
    """A count with its thousands apart."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, else hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
