"""Audits as they stand: looked at, cancelled; and what is known of their results while they run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from auditor import queue, resources
from auditor.audits.outcomes import at_most
from auditor.operations.errors import Conflict, NotFound
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.store.database import now
from auditor.store.queries import audits as queries
from auditor.store.queries import results
from auditor.store.queries.audits import Listed
from auditor.store.queries.results import Count
from auditor.store.tables import Event, Model


@dataclass(frozen=True)
class Known:
    """An audit, and what is known of robust accuracy while its report is not there."""

    listed: Listed
    bounds: tuple[resources.Bounds, ...] = ()

    @property
    def sign(self) -> tuple[str, int]:
        """Differs whenever something has happened to the audit."""
        return self.listed.audit.state, self.listed.audit.events

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to the audit any more."""
        return self.listed.audit.state in resources.FINISHED


@dataclass(frozen=True)
class News:
    """What happened to an audit after some event. more: there are further events already."""

    events: Sequence[Event]
    more: bool
    known: Known


def show(service: Service, project_id: str, audit_id: str) -> Known:
    """Raises NotFound."""
    with service.database.reading() as session:
        listed = find(session, project_id, audit_id)
        return Known(listed, tuple(_bounds(session, listed)))


def stand_ins(service: Service, project_id: str, audit_id: str) -> list[str]:
    """The surrogates that an audit names, as `--surrogate` takes them. Raises NotFound."""
    with service.database.reading() as session:
        find(session, project_id, audit_id)
        named = [
            (f"{session.get_one(Model, version.model_id).name}@{version.number}", row.normalisation)
            for row, version in queries.surrogates(session, audit_id)
        ]
    return [":".join([name, *(f"{word}={value}" for word, value in said.items())]) for name, said in named]


def page(
    service: Service,
    project_id: str,
    *,
    state: str | None = None,
    model: str | None = None,
    dataset: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[Known]:
    """Audits of the project, newest first, without bounds. before: an id."""
    with service.database.reading() as session:
        rows = queries.page(
            session, project_id, state=state, model=model, dataset=dataset, before=before, limit=limit
        )
    return [Known(row) for row in rows]


def signs(service: Service, audit_ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """What `Known.sign` is now, for each of these audits that is there."""
    with service.database.reading() as session:
        return queries.signs(session, audit_ids)


def find(session: Session, project_id: str, audit_id: str) -> Listed:
    """Raises NotFound."""
    listed = queries.one(session, project_id, audit_id)
    if listed is None:
        raise _not_found(audit_id)
    return listed


def cancel(service: Service, project_id: str, audit_id: str) -> None:
    """Take the audit's waiting work out of the queue and stop what runs of it; one that is cancelled stays so.

    It is cancelled once nothing of it runs any more. Raises NotFound, and Conflict when it has ended otherwise.
    """
    with service.database.transaction() as session:
        audit = queries.lock(session, project_id, audit_id)
        if audit is None:
            raise _not_found(audit_id)
        if audit.state in ("done", "failed"):
            raise Conflict(f"audit {audit_id} is {audit.state}; there is nothing left to cancel")
        if audit.state in ("cancelling", "cancelled"):
            return
        audit.state = "cancelling"
        session.flush()  # from here on nobody claims anything of it
        if queue.cancel(session, audit_id) == 0:
            audit.state, audit.finished_at = "cancelled", now()
            tell(session, audit_id, "audit.cancelled")


def news(service: Service, project_id: str, audit_id: str, *, after: int, limit: int) -> News:
    """Events with a higher number than `after`, so many at most. Raises NotFound."""
    with service.database.reading() as session:
        known = Known(find(session, project_id, audit_id))  # first, so that nothing can end between the two
        events = queries.events(session, audit_id, after=after, limit=limit + 1)
    return News(events[:limit], len(events) > limit, known)


def progress(listed: Listed) -> dict[str, int]:
    """Stages that have ended, out of all that are planned; empty before the plan."""
    facts = listed.audit.facts
    return {} if facts is None else {"done": listed.stages, "all": facts.get("stages", listed.stages)}


def _bounds(session: Session, listed: Listed) -> Iterator[resources.Bounds]:
    audit = listed.audit
    if audit.state == "done" or audit.facts is None or audit.spec is None:
        return
    if audit.words.get("weights"):  # what counts are worth, the report knows
        return
    grids: Mapping[str, list[str]] = {threat["norm"]: threat["eps"] for threat in audit.spec["threats"]}
    limits = {norm: [at_most(eps) for eps in grid] for norm, grid in grids.items()}
    counts = results.counts(session, audit.id, limits)
    for norm, grid in grids.items():
        yield from _between(norm, grid, [count for count in counts if count.norm == norm])


def _between(norm: str, grid: list[str], counts: list[Count]) -> Iterator[resources.Bounds]:
    """At best every example stands on which nothing was found, at worst only those on which everything has run."""
    total = sum(count.examples for count in counts)
    for place, eps in enumerate(grid if total else ()):
        standing = [count for count in counts if count.right and (count.place is None or count.place > place)]
        upper = sum(count.examples for count in standing)
        lower = sum(count.examples for count in standing if count.complete)
        yield resources.Bounds(norm=norm, eps=eps, lower=lower / total, upper=upper / total)


def _not_found(audit_id: str) -> NotFound:
    return NotFound(f"there is no audit {audit_id} in this project")
