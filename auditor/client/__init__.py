"""The Python client of a service: upload, audit, wait, and the result as objects and as pandas frames.

    with Client("http://127.0.0.1:8000", api_key="aud_…") as client:
        model = client.upload_model("model.onnx")
        data = client.upload_dataset("data.npz")
        audit = client.audit(model, data, norm=["Linf"], eps=["2/255,8/255"])
        print(client.result(audit.id).curve_frame())

`AsyncClient` has the same methods, awaited.
"""

from auditor.client.asynchronous import AsyncClient
from auditor.client.errors import (
    Conflict,
    DatasetRefused,
    Forbidden,
    Gone,
    ModelRefused,
    NotChecked,
    NotFinished,
    NotFound,
    ServiceError,
    TooLarge,
    TooMany,
    Unacceptable,
    Unauthorised,
    Unreachable,
)
from auditor.client.result import Result
from auditor.client.sync import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "DatasetRefused",
    "Forbidden",
    "Gone",
    "ModelRefused",
    "NotChecked",
    "NotFinished",
    "NotFound",
    "Result",
    "ServiceError",
    "TooLarge",
    "TooMany",
    "Unacceptable",
    "Unauthorised",
    "Unreachable",
]
