"""Several audits side by side."""

from typing import Annotated

from fastapi import APIRouter, Query

from auditor.api.access import ServiceDep, needs
from auditor.operations.access import Caller
from auditor.operations.comparison import compare
from auditor.report.comparison.schema import MOST, ComparisonReport

router = APIRouter(prefix="/compare", tags=["results"])
Reader = Annotated[Caller, needs("reports:read")]
Ids = Annotated[list[str], Query(min_length=2, max_length=MOST, description="Audits, the one to compare with first")]


@router.get("", summary="Compare up to five audits of the same examples with the first of them")
def compare_many(
    audits: Ids,
    caller: Reader,
    service: ServiceDep,
    margin: Annotated[float | None, Query(ge=0, lt=1, description="The net loss that is tolerated")] = None,
) -> ComparisonReport:
    """What each audit lost against the first, example by example, and what cannot be compared and why. With a margin every
    point is judged like a gate, all together under Holm's correction. `audits` is repeated: `?audits=…&audits=…`."""
    return compare(service, caller.project_id, audits, margin)
