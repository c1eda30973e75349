"""What the client raises. A message is the service's own sentence where the service answered."""

from collections.abc import Mapping

from pydantic import ValidationError

from auditor.client.steps import Answer
from auditor.errors import AuditorError, InputError
from auditor.resources import Audit, Problem


class ServiceError(AuditorError):
    """The service refused or failed. problem: what it said, after RFC 9457."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Unauthorised(ServiceError):
    """No valid API key came with the request (401)."""


class Forbidden(ServiceError):
    """The API key does not allow this (403)."""


class NotFound(ServiceError):
    """There is no such thing in this project (404)."""


class Conflict(ServiceError):
    """The request does not fit the present state (409)."""


class Gone(ServiceError):
    """It was there and has been removed (410)."""


class TooLarge(ServiceError, InputError):
    """The file is larger than the service allows (413)."""


class Unacceptable(ServiceError, InputError):
    """Something in the request is wrong (422)."""


class TooMany(ServiceError):
    """A rate limit or a quota is used up (429)."""


class Unreachable(AuditorError):
    """The service did not answer, or the connection broke too often."""


class Refused(InputError):
    """The service looked at an uploaded file and will not audit it; the message is its reason."""


class ModelRefused(Refused):
    """An uploaded model cannot be audited."""


class DatasetRefused(Refused):
    """An uploaded dataset cannot be read."""


class NotChecked(AuditorError):
    """An upload arrived and no worker has looked at it."""


class NotFinished(AuditorError):
    """The audit has no report yet. audit: how far it is."""

    def __init__(self, audit: Audit) -> None:
        done, total = audit.progress.get("done"), audit.progress.get("all")
        stages = f", {done} of {total} stages done" if total else ""
        super().__init__(
            f"audit {audit.id} is not finished: it is {audit.state}{stages}; 'auditor wait {audit.id}' waits"
        )
        self.audit = audit


_BY_STATUS: Mapping[int, type[ServiceError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Unacceptable,
    429: TooMany,
}


def error_of(answer: Answer) -> ServiceError:
    """The error that an answer of status 300 or above stands for."""
    problem = _problem(answer)
    return _BY_STATUS.get(answer.status, ServiceError)(problem)


def _problem(answer: Answer) -> Problem:
    try:
        return Problem.model_validate_json(answer.body)
    except ValidationError:
        where = f" (it points to {answer.headers['location']})" if "location" in answer.headers else ""
        detail = f"the service answered with status {answer.status} and no explanation{where}; check its URL"
        return Problem(type="about:blank", title="No problem document", status=answer.status, detail=detail)
