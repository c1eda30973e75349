"""The first part of an audit: everything that was left open is settled, and a stored answer is given if there is one."""

from typing import Any

from sqlalchemy.orm import Session

from auditor import queue
from auditor.operations.events import tell
from auditor.operations.service import Service
from auditor.operations.work import items
from auditor.queue import Claim
from auditor.store.database import now
from auditor.store.queries import work as queries
from auditor.store.tables import Audit

# Words that settle nothing in the specification, and yet what comes out.
_JUDGING = ("margin", "allow_chance", "no_examples")


def settled(service: Service, claim: Claim, facts: dict[str, Any], seconds: float) -> None:
    """The audit is settled: it has the results of an equal one that is finished, or waits to be prepared."""
    with service.database.transaction() as session:
        audit = items.end(session, claim, seconds)
        if audit is None:
            return
        audit.spec, audit.subject_sha256 = facts["spec"], facts["subject_sha256"]
        audit.chosen, audit.estimate = facts["chosen"], facts["estimate"]
        tell(session, audit.id, "audit.settled", spec_sha256=facts["spec_sha256"], estimate=facts["estimate"])
        answer = _answer(session, audit)
        if answer is not None:
            _take_over(session, answer, audit)
        else:
            audit.state = "queued"
            items.put(session, audit, "prepare")
    service.ring()


def mixed(service: Service, claim: Claim) -> None:
    """Part of the audit is done by a machine whose arithmetic may differ from the first one's by rounding: its results
    answer for no other audit."""
    with service.database.transaction() as session:
        queue.fence(session, claim, service.settings.lease)
        queries.lock(session, str(claim.audit_id)).subject_sha256 = None


def _answer(session: Session, audit: Audit) -> Audit | None:
    """A finished audit that asked for the same in every respect."""
    for other in queries.equals(session, audit):
        same = other.spec == audit.spec and all(other.words.get(w) == audit.words.get(w) for w in _JUDGING)
        if same and queries.report(session, other.id, lock=True) is not None:
            return other
    return None


def _take_over(session: Session, source: Audit, audit: Audit) -> None:
    queries.copy_results(session, source.id, audit.id)
    audit.facts, audit.results_sha256, audit.verdict = source.facts, source.results_sha256, source.verdict
    audit.state, audit.started_at, audit.finished_at = "done", now(), now()
    tell(session, audit.id, "audit.done", verdict=audit.verdict, results_sha256=audit.results_sha256, of=source.id)
