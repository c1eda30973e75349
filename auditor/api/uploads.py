"""Files in pieces: announce, send from where it stands, use."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from auditor import resources
from auditor.api.access import ServiceDep, needs
from auditor.api.bodies import PIECE, RAW_BODY, pieces
from auditor.operations import uploads
from auditor.operations.access import Caller

router = APIRouter(prefix="/uploads", tags=["uploads"])
Writer = Annotated[Caller, needs("models:write", "datasets:write")]
Offset = Annotated[int, Header(ge=0, le=1 << 62, description="Where this piece begins: `received` of the upload")]


@router.post("", status_code=201, summary="Announce a file")
def create(body: resources.NewUpload, caller: Writer, service: ServiceDep, response: Response) -> resources.Upload:
    """An upload that is not used within 24 hours is removed."""
    made = uploads.create(service, caller.project_id, body)
    response.headers["Location"] = f"/api/v1/uploads/{made.id}"
    response.headers["Upload-Offset"] = str(made.received)
    return made


@router.get("/{upload_id}", summary="Where an upload stands")
def show(upload_id: str, caller: Writer, service: ServiceDep, response: Response) -> resources.Upload:
    found = uploads.show(service, caller.project_id, upload_id)
    response.headers["Upload-Offset"] = str(found.received)
    return found


@router.head("/{upload_id}", summary="Where an upload stands, in the header Upload-Offset", response_class=Response)
def head(upload_id: str, caller: Writer, service: ServiceDep) -> Response:
    found = uploads.show(service, caller.project_id, upload_id)
    return Response(headers={"Upload-Offset": str(found.received), "Upload-Length": str(found.size)})


@router.patch("/{upload_id}", status_code=204, summary="Send the next bytes of a file", openapi_extra=RAW_BODY)
async def append(
    upload_id: str, caller: Writer, service: ServiceDep, request: Request, upload_offset: Offset
) -> Response:
    """As many bytes as you like, from Upload-Offset on. When the connection breaks, what came is kept: ask where the
    upload stands and go on from there. At another offset the answer is 409 with the right one."""
    offset = await run_in_threadpool(uploads.append, service, caller.project_id, upload_id, upload_offset, b"")
    async for piece in pieces(request, PIECE):
        offset = await run_in_threadpool(uploads.append, service, caller.project_id, upload_id, offset, piece)
    return Response(status_code=204, headers={"Upload-Offset": str(offset)})


@router.delete("/{upload_id}", status_code=204, summary="Forget an upload")
def cancel(upload_id: str, caller: Writer, service: ServiceDep) -> None:
    uploads.cancel(service, caller.project_id, upload_id)
