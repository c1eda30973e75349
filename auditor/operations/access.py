"""Who is asking, and what they may do."""

import hashlib
import hmac
from dataclasses import dataclass

from auditor.operations.errors import Forbidden, Unauthorised
from auditor.operations.service import Service
from auditor.store.queries import keys
from auditor.store.tables import Key

READ = ("models:read", "datasets:read", "audits:read", "reports:read", "webhooks:read", "keys:read", "project:read")
SUBMIT = (*READ, "models:write", "datasets:write", "audits:write")
ROLES: dict[str, tuple[str, ...]] = {
    "reader": READ,
    "submitter": SUBMIT,
    "admin": (*SUBMIT, "webhooks:write", "keys:write", "project:write"),
}
_TOUCH_SECONDS = 60.0


@dataclass(frozen=True)
class Caller:
    """A valid API key. used_at: when its last use was noted."""

    project_id: str
    key_id: str
    role: str
    scopes: frozenset[str]
    used_at: float | None = None

    def require(self, *scopes: str) -> None:
        """One of these scopes is enough. Raises Forbidden."""
        if self.scopes.isdisjoint(scopes):
            needed = " or ".join(scopes)
            raise Forbidden(f"this key ({self.role}) lacks {needed}; ask an admin of the project for one that has it")


def authenticate(service: Service, token: str) -> Caller:
    """The caller that holds an API key. Raises Unauthorised, without saying what is wrong with the key."""
    with service.database.reading() as session:
        row = keys.by_prefix(session, prefix_of(token))
    if row is None or not hmac.compare_digest(row.sha256, digest(token)):
        raise Unauthorised("the API key is not known, has expired or was revoked; send another one")
    return caller_of(row)


def caller_of(row: Key) -> Caller:
    return Caller(row.project_id, row.id, row.role, frozenset(row.scopes), row.last_used_at)


def touch(service: Service, key_id: str) -> None:
    """Note that a key is in use; written at most once a minute."""
    with service.database.transaction() as session:
        keys.touch(session, key_id, _TOUCH_SECONDS)


def digest(token: str) -> str:
    """What is kept of an API key. Keys are 256 random bits, so that a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def prefix_of(token: str) -> str:
    """The part of `aud_PREFIX_SECRET` that finds the row; empty when it is no such key."""
    kind, _, rest = token.partition("_")
    return rest.partition("_")[0] if kind == "aud" else ""
