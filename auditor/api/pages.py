"""Lists in pages: `?limit=` and `?cursor=`, newest first."""

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from auditor import resources

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before")]


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


def page(items: Sequence[Item], limit: int) -> "resources.Page[Item]":  # quoted: pydantic knows no protocols
    """One page of what is ordered by id. items: one more than `limit` where there are that many."""
    more = items[limit - 1].id if len(items) > limit else None
    return resources.Page(items=list(items[:limit]), next=more)
