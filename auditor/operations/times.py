"""Times as they travel."""

from datetime import UTC, datetime
from typing import overload


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: float | None) -> datetime | None: ...
def moment(seconds: float | None) -> datetime | None:
    """A time column, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
