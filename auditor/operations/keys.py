"""API keys of a project: made, listed, revoked. A key is shown once; afterwards only its digest is known."""

import secrets
from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from auditor.operations.access import ROLES, digest
from auditor.operations.errors import Forbidden, NotFound, Unacceptable
from auditor.store.database import now
from auditor.store.queries import keys
from auditor.store.tables import Key


def create_key(
    session: Session,
    project_id: str,
    name: str,
    role: str,
    scopes: Collection[str] | None = None,
    expires_in: float | None = None,
    *,
    granted: Collection[str] | None = None,
) -> tuple[Key, str]:
    """A new key and its text, `aud_PREFIX_SECRET`, which nobody can read again.

    scopes: fewer than the role's, if given; expires_in: seconds; granted: the scopes that its maker holds, none of
    which the key may exceed. Raises Unacceptable for a scope that the role does not have, Forbidden for one too many.
    """
    allowed = ROLES[role]
    chosen = allowed if scopes is None else tuple(dict.fromkeys(scopes))
    if foreign := sorted(set(chosen) - set(allowed)):
        raise Unacceptable(f"the role {role} has no scope {', '.join(foreign)}; it has {', '.join(allowed)}")
    if granted is not None and (excess := sorted(set(chosen) - set(granted))):
        raise Forbidden(f"this key cannot give what it does not have: {', '.join(excess)}")
    prefix = secrets.token_hex(6)
    text = f"aud_{prefix}_{secrets.token_urlsafe(32)}"
    key = Key(
        project_id=project_id,
        name=name,
        prefix=prefix,
        sha256=digest(text),
        role=role,
        scopes=list(chosen),
        created_at=now(),
        expires_at=None if expires_in is None else now() + expires_in,
    )
    keys.add(session, key)
    return key, text


def list_keys(session: Session, project_id: str, before: str | None, limit: int) -> Sequence[Key]:
    """Newest first, revoked ones among them. before: an id."""
    return keys.of_project(session, project_id, before, limit)


def revoke(session: Session, project_id: str, key_id: str) -> Key:
    """From now on the key opens nothing. Raises NotFound."""
    key = keys.revoke(session, project_id, key_id)
    if key is None:
        raise NotFound("there is no such key")
    return key
