"""Audits: asked for, followed, ended."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin

from pydantic import ValidationError

from auditor import resources
from auditor.client.calls.events import Following
from auditor.client.errors import NotFinished
from auditor.client.sending import LONG_PATIENCE, PATIENCE, every, fetch, path_of, send
from auditor.client.steps import Call, Give, Request, Stream
from auditor.errors import SpecError

_LONG_POLL = 30.0  # seconds


def audit(
    model: str | resources.Version,
    data: str | resources.Dataset,
    *,
    surrogates: Sequence[str | resources.Version | Mapping[str, Any]] = (),
    idempotency_key: str | None = None,
    **options: Any,
) -> Call[resources.Audit]:
    """Ask for an audit; it is running, or already done, when this returns.

    model: a version, or NAME, NAME@NUMBER, NAME@ALIAS; data: a dataset, its name or id. options: those of `auditor
    audit`, with underscores for hyphens (see resources.NewAudit). surrogates: models that stand in for this one in
    transfer attacks, each named as the model is, or {"model": …, "mean": …, "std": …}. idempotency_key: a second request under the same
    key gives the first one's audit; made anew unless given, so that a broken connection never asks twice.
    Raises SpecError or Unacceptable for options that make no sense.
    """
    named: dict[str, Any] = {"model": _id(model), "data": _id(data)}
    if surrogates:
        named["surrogates"] = [
            {**one, "model": _id(one["model"])} if isinstance(one, Mapping) else {"model": _id(one)}
            for one in surrogates
        ]
    body = new_audit({**options, **named}).model_dump(exclude_unset=True)
    headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
    return fetch(resources.Audit, Request("POST", path_of("audits"), json=body, headers=headers))


def new_audit(options: Mapping[str, Any]) -> resources.NewAudit:
    """Options as Python or YAML has them, as the service wants them: numbers and lists written out where it takes text.

    None and what was left out mean the same. Raises SpecError naming the option at fault.
    """
    words = {name: _written(name, value) for name, value in options.items() if value is not None}
    try:
        return resources.NewAudit.model_validate(words)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise SpecError(f"--{name}: {first['msg']}; see 'auditor audit --help' for the options") from error


def _written(name: str, value: Any) -> Any:
    field = resources.NewAudit.model_fields.get(name)
    if name == "surrogates":
        return [{key: _text(said) for key, said in one.items() if said is not None} for one in value]
    if field is not None and get_origin(field.annotation) is list:
        return [str(item) for item in ([value] if isinstance(value, str) else value)]
    if field is not None and field.annotation in (str, str | None):
        return _text(value)
    return value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _id(named: str | resources.Version | resources.Dataset) -> str:
    return named if isinstance(named, str) else named.id


def get(audit_id: str) -> Call[resources.Audit]:
    """An audit: its state, progress and the bounds known so far. Raises NotFound."""
    return fetch(resources.Audit, Request("GET", path_of("audits", audit_id)))


def audits(
    *, state: str | None = None, model: str | None = None, dataset: str | None = None
) -> Stream[resources.Audit]:
    """All audits of the project, newest first, or those in one state, of one model, on one dataset."""
    return every(resources.Audit, path_of("audits"), state=state, model=model, dataset=dataset)


def events(audit_id: str, *, after: int = 0) -> Stream[resources.Event]:
    """What happens to an audit, as it happens, until it is finished; goes on by itself after a broken connection.

    after: the number of the last event that is known already.
    """
    following = Following(audit_id, after)
    while not following.ended:
        for event in (yield from following.more()):
            yield Give(event)


def wait(
    audit_id: str, *, timeout: float | None = None, on_event: Callable[[resources.Event], None] | None = None
) -> Call[resources.Audit]:
    """The audit once it is done, failed or cancelled. timeout: seconds. Raises NotFinished when it runs out."""
    stop_at = None if timeout is None else time.monotonic() + timeout
    if on_event is not None:
        yield from _tell(audit_id, on_event, stop_at)
    while True:
        left = LONG_PATIENCE if stop_at is None else max(0.0, stop_at - time.monotonic())
        request = Request("GET", path_of("audits", audit_id), params={"wait": round(min(_LONG_POLL, left), 1)})
        found = yield from fetch(resources.Audit, request, patience=max(PATIENCE, left))
        if found.state in resources.FINISHED:
            return found
        if stop_at is not None and time.monotonic() >= stop_at:
            raise NotFinished(found)


def _tell(audit_id: str, on_event: Callable[[resources.Event], None], stop_at: float | None) -> Call[None]:
    following = Following(audit_id)
    while not following.ended and (stop_at is None or time.monotonic() < stop_at):
        for event in (yield from following.more(stop_at)):
            on_event(event)


def cancel(audit_id: str) -> Call[resources.Audit]:
    """Stop an audit; it is cancelled within seconds. Raises Conflict once it is done."""
    return fetch(resources.Audit, Request("POST", path_of("audits", audit_id, "cancel")))


def extend(
    audit_id: str, *, eps: Mapping[str, list[str]] | None = None, examples: int | None = None
) -> Call[resources.Audit]:
    """A new audit that adds epsilons per norm, examples, or both to a finished one, and reuses what that one found."""
    body = resources.Extension(eps=dict(eps or {}), examples=examples).model_dump(exclude_unset=True)
    headers = {"idempotency-key": str(uuid.uuid4())}
    request = Request("POST", path_of("audits", audit_id, "extend"), json=body, headers=headers, repeatable=False)
    return fetch(resources.Audit, request)


def delete_audit(audit_id: str) -> Call[None]:
    """Delete a finished audit with its files. Raises Conflict while it runs."""
    yield from send(Request("DELETE", path_of("audits", audit_id)))
