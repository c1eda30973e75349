"""What a request can be refused for. Each error carries its HTTP status and the name of its problem type."""

from collections.abc import Mapping

from auditor.errors import AuditorError, InputError


class Refused(AuditorError):
    """A request that the service does not carry out; nothing was changed. headers: of HTTP, for the answer."""

    status = 400
    type = "refused"
    title = "The request was refused"
    headers: Mapping[str, str] = {}


class Unauthorised(Refused):
    status, type, title = 401, "unauthorised", "No valid API key"
    headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(Refused):
    status, type, title = 403, "forbidden", "The API key does not allow this"


class NotFound(Refused):
    """Also what belongs to another project: nobody learns whether it exists."""

    status, type, title = 404, "not-found", "There is no such thing in this project"


class Conflict(Refused):
    status, type, title = 409, "conflict", "The request does not fit the present state"


class StillChecking(Conflict):
    """A model or dataset is not known to be acceptable yet; it will be in seconds."""

    headers = {"Retry-After": "2"}


class NotDone(Conflict):
    """An audit has no results yet, or never will."""


class WrongOffset(Conflict):
    """A piece of an upload does not begin where the last one ended. offset: where it ended."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next piece of this upload begins at byte {offset}")
        self.headers = {"Upload-Offset": str(offset)}


class Gone(Refused):
    status, type, title = 410, "gone", "It was here and has been removed"


class TooLarge(Refused):
    status, type, title = 413, "too-large", "The body is larger than allowed"


class Unacceptable(Refused, InputError):
    """The request was understood, and something in it is wrong: the message names what, where, and what to do."""

    status, type, title = 422, "unacceptable", "The input is not acceptable"


class DigestMismatch(Unacceptable):
    type, title = "digest-mismatch", "The bytes are not those that were declared"


class QuotaExceeded(Refused):
    status, type, title = 429, "quota-exceeded", "The project's quota is used up"


class RateLimited(Refused):
    """retry_after: seconds."""

    status, type, title = 429, "rate-limited", "Too many requests"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(max(1, round(retry_after)))}
