"""The web page: what the service can do, for people. Server-rendered, of the same origin as the HTTP interface.

Every page works without scripts; with them, what runs is followed as it moves. Everything is done by the operations that
the HTTP interface calls, with the scopes of the key that was signed in with.
"""

from fastapi import FastAPI

from auditor.api.access import Keyring
from auditor.operations import sessions
from auditor.operations.service import Service
from auditor.web import (
    asking,
    audits,
    comparing,
    datasets,
    entrance,
    examples,
    keys,
    models,
    overview,
    static,
    webhooks,
)

_PAGES = (entrance, overview, models, datasets, asking, audits, examples, comparing, keys, webhooks)


def install(app: FastAPI, service: Service) -> None:
    """Add the pages to the application that answers the service's HTTP interface."""
    app.state.sessions = Keyring(sessions.holder)
    for pages in _PAGES:
        app.include_router(pages.router)
    app.include_router(static.router)
