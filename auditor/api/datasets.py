"""Datasets."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.bodies import RAW_BODY, keep
from auditor.api.pages import Cursor, Limit, page
from auditor.api.waiting import Wait, until
from auditor.operations import datasets, deletion
from auditor.operations.access import Caller

router = APIRouter(prefix="/datasets", tags=["datasets"])
Reader = Annotated[Caller, needs("datasets:read")]
Writer = Annotated[Caller, needs("datasets:write")]
Dataset = Annotated[str, Path(max_length=200, description="A dataset's id, or a name for its newest")]


@router.post(
    "",
    status_code=201,
    summary="Upload a dataset",
    openapi_extra=RAW_BODY,
    responses={202: {"model": resources.Dataset, "description": "Still being checked; look again at Location"}},
)
async def upload(
    caller: Writer,
    service: ServiceDep,
    request: Request,
    response: Response,
    name: Annotated[str, Query(min_length=1, max_length=500, examples=["digits-test"])],
    filename: Annotated[
        str, Query(max_length=500, description="Its suffix says how the file is read", examples=["digits.npz"])
    ],
    upload: Annotated[str | None, Query(description="Instead of a body: the id of a finished upload")] = None,
    wait: Wait = 10.0,
) -> resources.Dataset:
    """The body is the file. The answer comes when it was checked: it is `ready`, or `refused` with the reason."""
    name, filename = datasets.checked(name, filename)
    sha256, size = await keep(request, service, caller.project_id, upload, service.settings.max_dataset_bytes)
    made = await run_in_threadpool(datasets.add, service, caller.project_id, name, filename, sha256, size, upload)
    response.headers["Location"] = f"/api/v1/datasets/{made.id}"

    def look() -> resources.Dataset:
        return datasets.show(service, caller.project_id, made.id)

    dataset = await until(lambda dataset: dataset.state != "checking", made, look, wait)
    if dataset.state == "checking":
        response.status_code = 202
    return dataset


@router.get("", summary="List datasets, newest first")
def index(
    caller: Reader,
    service: ServiceDep,
    name: Annotated[str | None, Query(max_length=500)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> resources.Page[resources.Dataset]:
    """name: a part of the names that are wanted."""
    return page(datasets.list_datasets(service, caller.project_id, name, cursor, limit + 1), limit)


@router.get("/{dataset}", summary="One dataset")
def show(dataset: Dataset, caller: Reader, service: ServiceDep) -> resources.Dataset:
    return datasets.show(service, caller.project_id, dataset)


@router.delete("/{dataset}", status_code=204, summary="Delete a dataset and everything derived from it")
def delete(dataset: Dataset, caller: Writer, service: ServiceDep) -> None:
    """Its audits, their outcomes and artifacts. Refused while an audit of it runs."""
    deletion.delete_dataset(service, caller.project_id, datasets.show(service, caller.project_id, dataset).id)
