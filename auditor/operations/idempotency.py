"""The header Idempotency-Key: a request that is sent again is carried out once."""

from sqlalchemy.orm import Session

from auditor.operations.errors import Conflict, Unacceptable
from auditor.store.queries import idempotency
from auditor.store.tables import Idempotency

_KEPT_SECONDS = 86400.0
_IN_FLIGHT_SECONDS = 60.0  # a request that has no answer by then died, and another may take its place


def begin(session: Session, project_id: str, key: str, request_sha256: str) -> Idempotency | None:
    """None for a first request, which is to call `end`; else the row with the answer that was given.

    A key is remembered for 24 hours. Raises Unacceptable when it came with another request, Conflict while the first
    one is being carried out.
    """
    idempotency.drop(session, project_id, key, older_than=_KEPT_SECONDS, in_flight=_IN_FLIGHT_SECONDS)
    if idempotency.claim(session, project_id, key, request_sha256):
        return None
    found = idempotency.find(session, project_id, key)
    if found is None or (found.request_sha256 == request_sha256 and found.status is None):
        raise Conflict(
            "the first request with this Idempotency-Key is still being carried out; try again in a moment"
        )
    if found.request_sha256 != request_sha256:
        raise Unacceptable("this Idempotency-Key came with another request before; use a new key for a new request")
    return found


def end(session: Session, project_id: str, key: str, audit_id: str, status: int) -> None:
    """Keep the answer: the audit, and the HTTP status with which it was given."""
    idempotency.answer(session, project_id, key, audit_id, status)
