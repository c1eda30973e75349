"""Lists in pages: `?limit=` and `?cursor=`, newest first."""

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from auditor import resources

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before")]


class HasId(Protocol):
    id: str


Row = TypeVar("Row", bound=HasId)
Shown = TypeVar("Shown")


def page(rows: Sequence[Row], limit: int, show: Callable[[Row], Shown]) -> resources.Page[Shown]:
    """One page of rows that are ordered by id. rows: one more than `limit` where there are that many."""
    more = rows[limit - 1].id if len(rows) > limit else None
    return resources.Page(items=[show(row) for row in rows[:limit]], next=more)
