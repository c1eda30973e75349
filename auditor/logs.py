"""Structured logs on stderr: one line per event, as JSON or for a terminal, and nothing secret in any of them.

    log.info("audit.finished", verdict="passed", seconds=12.3)

Ids that hold for a while are bound once and ride on every line below:

    with bound(audit_id=audit_id, item=item, attempt=attempt): ...
"""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars as bound
from structlog.typing import EventDict, Processor

from auditor.errors import SpecError
from auditor.settings import Settings

__all__ = ["bound", "configure", "log"]

_SECRET_FIELDS = re.compile("authorization|cookie|password|secret|token|api_?key", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"\b(aud_[A-Za-z0-9]+)_[A-Za-z0-9_-]+"), r"\1_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), "whsec_***"),
    (re.compile(r"\b(Bearer|Basic) +[^\s\"',]+", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"(/shared/)[^\s/\"'?]+"), r"\1***"),
    (re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']+@"), r"\1***@"),  # a password in a URL
)
# They bring handlers of their own, which would write each record a second time in another form.
_FOREIGN = ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task", "celery.redirected", "kombu")


def redacted(text: str) -> str:
    """The text without API keys, signing secrets, link tokens, Authorization headers and passwords in URLs."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _without_secret_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: "***" if _SECRET_FIELDS.search(name) else value for name, value in event.items()}


def _redact(_logger: Any, _method: str, line: Any) -> str:
    return redacted(line)


class _Stderr(logging.Handler):
    """Writes to what stderr is at the time, so that replacing it replaces where logs go."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("auditor")


def configure(settings: Settings) -> None:
    """Write this process's logs, uvicorn's and Celery's among them, to stderr as the settings say; call it once at
    the start (in a Celery worker: from the signal `setup_logging`). Raises SpecError for an unknown level or format.
    """
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise SpecError(f"AUDITOR_LOG_LEVEL={settings.log_level} is not a level; write debug, info, warning or error")
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_secret_fields,
                *_renderers(settings.log_format),
                _redact,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _FOREIGN:
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True


def _renderers(form: str) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    if form == "console":
        plain = structlog.dev.plain_traceback  # the prettier one prints local variables, keys among them
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    raise SpecError(f"AUDITOR_LOG_FORMAT={form} is not a format; write json or console")
