"""How figures come about and are printed: a table's columns are named by the keys of its rows."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows under a title; text to the left, numbers to the right."""
    cells = [{name: str(value) for name, value in row.items()} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in rows[0]}
    text = {name for name, value in rows[0].items() if isinstance(value, str) and not value[:1].isdigit()}
    print(f"\n{title}")
    for row in [{name: name for name in widths}, *cells]:
        aligned = (
            row[name].ljust(width) if name in text else row[name].rjust(width) for name, width in widths.items()
        )
        print("  ".join(aligned).rstrip(), flush=True)


def spread(values: Sequence[float], unit: float = 1.0, digits: int = 1) -> str:
    """The median and, where there are several, the smallest and largest."""
    middle, least, most = (f"{unit * value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least}..{most})"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def timed(do: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
