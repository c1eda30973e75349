"""Models and datasets on their way in: small files in one request, large ones in pieces that survive a broken line."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from auditor import resources
from auditor.client.calls.naming import dataset, set_alias, version
from auditor.client.errors import (
    Conflict,
    DatasetRefused,
    ModelRefused,
    NotChecked,
    Refused,
    ServiceError,
    Unreachable,
)
from auditor.client.sending import LONG_PATIENCE, fetch, path_of, pauses, send
from auditor.client.source import Source, opened
from auditor.client.steps import Call, Pause, Request

AT_ONCE = 64 << 20  # larger files go in pieces
PIECE = 8 << 20
_BETWEEN_LOOKS = 0.5  # seconds
_CHECK_PATIENCE = 600.0  # seconds; the service itself gives a check less

Progress = Callable[[int, int], None]
Words = dict[str, str | list[str] | None]
Checked = TypeVar("Checked", resources.Version, resources.Dataset)


def upload_model(
    model: Path | str | bytes,
    *,
    name: str | None = None,
    alias: str | None = None,
    input: str | None = None,
    output: str | None = None,
    layout: str | None = None,
    fix: Sequence[str] = (),
    threshold: float | None = None,
    multilabel: bool = False,
    label: str | int | None = None,
    unbatched: bool = False,
    surrogate: bool | None = None,
    progress: Progress | None = None,
) -> Call[resources.Version]:
    """Upload an ONNX file as the next version of `name` and wait until the service has checked it.

    model: a path or the bytes. name: the file's name without its suffix unless given. alias: moved to this version once
    it is ready. input, output, layout, fix, threshold, multilabel, label, unbatched: as for `audit`, where the file leaves a choice; they
    hold for the version's audits too. surrogate: whether the
    versions of this name may stand in for other models; as it was unless given. progress: called with (bytes sent, bytes
    in all). Raises ModelRefused with the service's reason, and NotChecked when no worker looks at it.
    """
    name = name or _stem(model, "model")
    words: Words = {"name": name, "input": input, "output": output, "layout": layout}
    words |= {
        "threshold": None if threshold is None else repr(threshold),
        "label": None if label is None else str(label),
    }
    flags = {"multilabel": multilabel or None, "unbatched": unbatched or None, "surrogate": surrogate}
    words |= {flag: str(said).lower() for flag, said in flags.items() if said is not None}
    words |= {"fix": list(fix)} if fix else {}
    with opened(model, f"{name}.onnx") as source:
        uploaded = yield from _upload(resources.Version, "models", source, words, progress)
    look = functools.partial(version, uploaded.model, uploaded.number)
    ready = yield from _checked(uploaded, look, ModelRefused)
    if alias is not None:
        yield from set_alias(ready.model, alias, ready.number)
        ready = yield from look()
    return ready


def upload_dataset(
    data: Path | str | bytes,
    *,
    name: str | None = None,
    filename: str | None = None,
    progress: Progress | None = None,
) -> Call[resources.Dataset]:
    """Upload a dataset and wait until the service has checked it.

    data: a path or the bytes. filename: of bytes; its suffix tells how they are read (.npz unless given). name, progress:
    as for a model. Raises DatasetRefused with the service's reason, and NotChecked.
    """
    name = name or _stem(data, "data")
    with opened(data, filename or f"{name}.npz") as source:
        uploaded = yield from _upload(resources.Dataset, "datasets", source, {"name": name}, progress)
    return (yield from _checked(uploaded, functools.partial(dataset, uploaded.id), DatasetRefused))


def _checked(first: Checked, look: Callable[[], Call[Checked]], refusal: type[Refused]) -> Call[Checked]:
    """The upload once it is ready. Raises `refusal` with the service's reason, and NotChecked."""
    found, stop_at = first, time.monotonic() + _CHECK_PATIENCE
    while found.state == "checking":
        if time.monotonic() > stop_at:
            raise NotChecked(
                f"{found.filename} is uploaded, but nothing has checked it for {_CHECK_PATIENCE / 60:.0f} minutes; is a "
                "worker running? 'auditor doctor' on the service's machine tells"
            )
        yield Pause(_BETWEEN_LOOKS)
        found = yield from look()
    if found.state == "refused":
        raise refusal(found.reason or f"{found.filename} was refused")
    return found


def _upload(
    kind: type[Checked], collection: str, source: Source, words: Words, progress: Progress | None
) -> Call[Checked]:
    params = {key: value for key, value in {**words, "filename": source.filename}.items() if value is not None}
    path = path_of(collection)
    tell = progress or (lambda sent, size: None)
    if source.size <= AT_ONCE:
        content = source.read(0, source.size)
        headers = {"content-type": "application/octet-stream"}
        request = Request("POST", path, params=params, headers=headers, content=content, repeatable=False)
        answered = yield from fetch(kind, request)
        tell(source.size, source.size)
        return answered
    upload = yield from _send_pieces(source, tell)
    return (yield from fetch(kind, Request("POST", path, params={**params, "upload": upload}, repeatable=False)))


def _send_pieces(source: Source, tell: Progress) -> Call[str]:
    """Send a file piece by piece, from wherever the service says that it stands; gives the upload's id."""
    new = resources.NewUpload(filename=source.filename, size=source.size, sha256=source.sha256())
    made = yield from fetch(
        resources.Upload, Request("POST", path_of("uploads"), json=new.model_dump(), repeatable=False)
    )
    path, offset = path_of("uploads", made.id), made.received
    while offset < source.size:
        offset = yield from _send_piece(path, source.read(offset, PIECE), offset)
        tell(offset, source.size)
    return made.id


def _send_piece(path: str, piece: bytes, offset: int) -> Call[int]:
    """Where the next piece begins. After a broken connection the service is asked how much has arrived."""
    headers = {"upload-offset": str(offset), "content-type": "application/octet-stream"}
    request = Request("PATCH", path, headers=headers, content=piece, repeatable=False)
    for pause in pauses(LONG_PATIENCE):
        try:
            answer = yield from send(request, patience=0)
            return int(answer.headers["upload-offset"])
        except (Unreachable, ServiceError) as error:
            if pause is None or not _mendable(error):
                raise
            yield Pause(pause)
        known = yield from fetch(resources.Upload, Request("GET", path), patience=LONG_PATIENCE)
        if known.received != offset:
            return known.received
    raise AssertionError("the last pause is None, at which the loop raises")


def _mendable(error: Unreachable | ServiceError) -> bool:
    """Whether the service may go on from where it stands."""
    return isinstance(error, Unreachable | Conflict) or error.problem.status in (429, 500, 502, 503, 504)


def _stem(content: Path | str | bytes, otherwise: str) -> str:
    return otherwise if isinstance(content, bytes) else Path(content).stem
