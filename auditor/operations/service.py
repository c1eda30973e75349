"""What every operation of the service works on."""

from collections.abc import Callable
from dataclasses import dataclass

from auditor.settings import Settings
from auditor.store.artifacts import Artifacts
from auditor.store.database import Database


@dataclass(frozen=True)
class Service:
    """ring: tells idle workers that there may be work; called after a commit, free to be lost or doubled."""

    database: Database
    artifacts: Artifacts
    settings: Settings
    ring: Callable[[], None]


def open_service(settings: Settings) -> Service:
    """The service that the settings describe. Raises SpecError for settings that fit nothing."""
    from auditor.queue import doorbell

    return Service(
        Database(settings.database_url), Artifacts.open(settings.artifacts_url), settings, doorbell(settings.redis)
    )
