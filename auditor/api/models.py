"""Models and their versions."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.bodies import RAW_BODY, keep
from auditor.api.pages import Cursor, Limit, page
from auditor.api.waiting import Wait, until
from auditor.operations import deletion, models
from auditor.operations.access import Caller
from auditor.spec import Layout

router = APIRouter(prefix="/models", tags=["models"])
Reader = Annotated[Caller, needs("models:read")]
Writer = Annotated[Caller, needs("models:write")]
Model = Annotated[str, Path(max_length=200, description="A model's name or id")]
Number = Annotated[int, Path(ge=1, le=1 << 62, description="A version's number")]
Word = Annotated[str | None, Query(max_length=500)]


@router.post(
    "",
    status_code=201,
    summary="Upload a model as the next version of a name",
    openapi_extra=RAW_BODY,
    responses={202: {"model": resources.Version, "description": "Still being checked; look again at Location"}},
)
async def upload(
    caller: Writer,
    service: ServiceDep,
    request: Request,
    response: Response,
    name: Annotated[str, Query(min_length=1, max_length=500, examples=["digits"])],
    filename: Word = None,
    input: Word = None,
    output: Word = None,
    layout: Layout | None = None,
    fix: Annotated[list[str], Query(max_length=1000, description="NAME=VALUE: what another input is given")] = [],  # noqa: B006
    threshold: Annotated[
        float | None, Query(description="Of an output of one number, above which it means class 1")
    ] = None,
    multilabel: Annotated[bool, Query(description="Each score decides about a label of its own")] = False,
    label: Annotated[
        str | None, Query(max_length=500, description="The one of several labels that is audited alone")
    ] = None,
    unbatched: Annotated[bool, Query(description="The whole of the input is one example")] = False,
    surrogate: Annotated[
        bool | None, Query(description="Whether the versions of this name may stand in for other models")
    ] = None,
    upload: Annotated[str | None, Query(description="Instead of a body: the id of a finished upload")] = None,
    wait: Wait = 10.0,
) -> resources.Version:
    """The body is the ONNX file. input, output, layout, fix, threshold, multilabel, label and unbatched are needed only where
    the file leaves a choice; what is said here holds for every audit of the version, unless the audit says otherwise.

    The answer comes when the file was checked: it is `ready`, with what was found out about it, or `refused`, with the
    reason.
    """
    declared = resources.Declared(
        input=input,
        output=output,
        layout=layout,
        fix=fix,
        threshold=threshold,
        multilabel=multilabel,
        label=label,
        unbatched=unbatched,
    )
    new = models.NewVersion.checked(name, filename, surrogate, declared)
    sha256, size = await keep(request, service, caller.project_id, upload, service.settings.max_model_bytes)
    made = await run_in_threadpool(models.add, service, caller.project_id, new, sha256, size, upload)
    response.headers["Location"] = f"/api/v1/models/{quote(made.model, safe='')}/versions/{made.number}"

    def look() -> resources.Version:
        return models.show_version(service, caller.project_id, made.model, made.number)

    version = await until(lambda version: version.state != "checking", made, look, wait)
    if version.state == "checking":
        response.status_code = 202
    return version


@router.get("", summary="List models, newest first")
def index(
    caller: Reader, service: ServiceDep, name: Word = None, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Model]:
    """name: a part of the names that are wanted."""
    return page(models.list_models(service, caller.project_id, name, cursor, limit + 1), limit)


@router.get("/{model}", summary="A model and its newest version")
def show(model: Model, caller: Reader, service: ServiceDep) -> resources.Model:
    return models.show(service, caller.project_id, model)


@router.patch("/{model}", summary="Say whether a model may stand in for others")
def change(model: Model, body: resources.ModelChange, caller: Writer, service: ServiceDep) -> resources.Model:
    """An audit names models that may do so as its `surrogates`: their gradients are followed in transfer attacks.
    Audits that were asked for before are not changed."""
    return models.change(service, caller.project_id, model, body)


@router.delete("/{model}", status_code=204, summary="Delete a model and everything derived from it")
def delete(model: Model, caller: Writer, service: ServiceDep) -> None:
    """Its versions, their audits, outcomes and artifacts. Refused while an audit of it runs."""
    deletion.delete_model(service, caller.project_id, models.show(service, caller.project_id, model).id)


@router.get("/{model}/versions", summary="List a model's versions, newest first")
def versions(
    model: Model, caller: Reader, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Version]:
    return page(models.list_versions(service, caller.project_id, model, cursor, limit + 1), limit)


@router.get("/{model}/versions/{number}", summary="One version")
def version(model: Model, number: Number, caller: Reader, service: ServiceDep) -> resources.Version:
    return models.show_version(service, caller.project_id, model, number)


@router.delete(
    "/{model}/versions/{number}", status_code=204, summary="Delete a version and everything derived from it"
)
def delete_version(model: Model, number: Number, caller: Writer, service: ServiceDep) -> None:
    """Its audits, outcomes and artifacts. Refused while an audit of it runs. The number is not given again."""
    version_id = models.show_version(service, caller.project_id, model, number).id
    deletion.delete_version(service, caller.project_id, version_id)


@router.put("/{model}/aliases/{alias}", summary="Point an alias at a version")
def set_alias(
    model: Model, alias: str, body: resources.NewAlias, caller: Writer, service: ServiceDep
) -> resources.Model:
    models.set_alias(service, caller.project_id, model, alias, body.version)
    return models.show(service, caller.project_id, model)


@router.delete("/{model}/aliases/{alias}", status_code=204, summary="Remove an alias")
def remove_alias(model: Model, alias: str, caller: Writer, service: ServiceDep) -> None:
    models.remove_alias(service, caller.project_id, model, alias)
