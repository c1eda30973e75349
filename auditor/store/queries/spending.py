"""Compute-seconds that projects have spent: they count against the quota whatever has become of the audits."""

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, cast, func, select
from sqlalchemy.orm import Session

from auditor.store.database import now
from auditor.store.queries.inserting import insert
from auditor.store.tables import Spending

_DAYS = 30  # before today, that a quota of compute-seconds is for
_TODAY = cast(now(), BigInteger) // 86400


def add(session: Session, project_id: str, seconds: float) -> None:
    """The project has spent more today. Its row is locked until the transaction ends, after the item and the audit."""
    more = insert(session, Spending).values(project_id=project_id, day=_TODAY, seconds=seconds)
    keys = [Spending.project_id, Spending.day]
    session.execute(more.on_conflict_do_update(index_elements=keys, set_={"seconds": Spending.seconds + seconds}))


def of(project_id: ColumnElement[str] | str) -> ScalarSelect[float]:
    """What a project has spent today and in the 30 days before."""
    counted = Spending.project_id == project_id, Spending.day >= _TODAY - _DAYS
    return select(func.coalesce(func.sum(Spending.seconds), 0.0)).where(*counted).scalar_subquery()
