"""The check of an uploaded model or dataset: what it needs, and what it found."""

from dataclasses import dataclass
from typing import Any

from auditor import queue
from auditor.operations.models import declared
from auditor.operations.service import Service
from auditor.operations.work.tasks import File
from auditor.queue import Claim
from auditor.store.tables import Dataset, Version


@dataclass(frozen=True)
class Check:
    """What is to be checked. choice: how a model is to be read, as declared; None for a dataset."""

    file: File
    choice: dict[str, Any] | None


def check(service: Service, claim: Claim) -> Check:
    with service.database.reading() as session:
        if claim.version_id is None:
            dataset = session.get_one(Dataset, claim.dataset_id)
            return Check(File(dataset.sha256, dataset.filename), None)
        version = session.get_one(Version, claim.version_id)
        return Check(File(version.sha256, version.filename), declared(version))


def checked(service: Service, claim: Claim, facts: dict[str, Any], seconds: float) -> None:
    """The model or dataset is ready."""
    with service.database.transaction() as session:
        queue.end(session, claim, "done", seconds=seconds)
        row: Version | Dataset = (
            session.get_one(Version, claim.version_id)
            if claim.version_id
            else session.get_one(Dataset, claim.dataset_id)
        )
        row.state, row.facts = "ready", facts
