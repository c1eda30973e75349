"""Signing in to the web page: an API key is shown once, and a session stands for it until it ends.

The browser keeps the session's token and never the key. The session has the key's scopes, and ends with the key.
"""

import secrets

from auditor.operations.access import Caller, authenticate, caller_of, digest
from auditor.operations.errors import Unauthorised
from auditor.operations.service import Service
from auditor.store.queries import sessions

SECONDS = 12 * 3600.0


def open_session(service: Service, key: str) -> str:
    """The token of a new session for who holds this API key. Raises Unauthorised."""
    caller, token = authenticate(service, key), secrets.token_urlsafe(32)
    with service.database.transaction() as session:
        sessions.remove_expired(session)
        sessions.add(session, digest(token), caller.key_id, SECONDS)
    return token


def holder(service: Service, token: str) -> Caller:
    """Whose session it is. Raises Unauthorised."""
    with service.database.reading() as session:
        row = sessions.key_of(session, digest(token))
    if row is None:
        raise Unauthorised("the session has ended; sign in again")
    return caller_of(row)


def close_session(service: Service, token: str) -> None:
    """Sign out."""
    with service.database.transaction() as session:
        sessions.remove(session, digest(token))
