"""The caller's project: what it uses, and its limits."""

from typing import Annotated

from fastapi import APIRouter

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.operations import projects
from auditor.operations.access import Caller
from auditor.operations.service import Service

router = APIRouter(prefix="/project", tags=["project"])


@router.get("", summary="What the project uses and may use")
def show(caller: Annotated[Caller, needs("project:read")], service: ServiceDep) -> resources.Project:
    return _shown(service, caller.project_id)


@router.patch("", summary="Set quotas and retention")
def change(
    body: resources.Quotas, caller: Annotated[Caller, needs("project:write")], service: ServiceDep
) -> resources.Project:
    """What the body leaves out stays as it is; null lifts a quota."""
    with service.database.transaction() as session:
        projects.change(session, caller.project_id, body.model_dump(exclude_unset=True))
    return _shown(service, caller.project_id)


def _shown(service: Service, project_id: str) -> resources.Project:
    with service.database.reading() as session:
        used = projects.usage(session, project_id)
    project = used.project
    return resources.Project(
        id=project.id,
        name=project.name,
        quotas=resources.Quotas(
            bytes=project.quota_bytes,
            audits=project.quota_audits,
            seconds=project.quota_seconds,
            retention=project.retention,
        ),
        used_bytes=used.bytes,
        running_audits=used.audits,
        used_seconds=used.seconds,
    )
