"""The service over HTTP as a process of its own, as the environment says: python -m auditor.server"""

import sys

import uvicorn
from fastapi import FastAPI

from auditor import logs, web
from auditor.api.app import create_app
from auditor.errors import AuditorError
from auditor.logs import log
from auditor.operations.service import Service, open_service
from auditor.settings import Settings
from auditor.store import migrate

_GRACE_SECONDS = (
    5  # for answers that are on their way when the process is told to end; streams of events go on for ever
)


def site(service: Service) -> FastAPI:
    """The HTTP interface and the web page of a service, as one ASGI application."""
    app = create_app(service)
    web.install(app, service)
    return app


def main(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises AuditorError when the settings or the database's tables do not fit."""
    logs.configure(settings)
    service = open_service(settings)
    migrate.check(service.database)
    log.info("api.listening", host=settings.host, port=settings.port, url=settings.public_url)
    uvicorn.run(
        site(service),
        host=settings.host,
        port=settings.port,
        access_log=False,  # every request has a line already, with its id
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    try:
        main(Settings.read())
    except AuditorError as error:
        log.error("api.refused", error=str(error))
        sys.exit(error.exit_code)
