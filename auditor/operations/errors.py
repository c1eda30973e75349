"""What a request can be refused for. Each error carries its HTTP status and the name of its problem type."""

from auditor.errors import AuditorError, InputError


class Refused(AuditorError):
    """A request that the service does not carry out; nothing was changed."""

    status = 400
    type = "refused"
    title = "The request was refused"


class Unauthorised(Refused):
    status, type, title = 401, "unauthorised", "No valid API key"


class Forbidden(Refused):
    status, type, title = 403, "forbidden", "The API key does not allow this"


class NotFound(Refused):
    """Also what belongs to another project: nobody learns whether it exists."""

    status, type, title = 404, "not-found", "There is no such thing in this project"


class Conflict(Refused):
    status, type, title = 409, "conflict", "The request does not fit the present state"


class Gone(Refused):
    status, type, title = 410, "gone", "It was here and has been removed"


class TooLarge(Refused):
    status, type, title = 413, "too-large", "The body is larger than allowed"


class Unacceptable(Refused, InputError):
    """The request was understood, and something in it is wrong: the message names what, where, and what to do."""

    status, type, title = 422, "unacceptable", "The input is not acceptable"


class QuotaExceeded(Refused):
    status, type, title = 429, "quota-exceeded", "The project's quota is used up"


class RateLimited(Refused):
    """retry_after: seconds."""

    status, type, title = 429, "rate-limited", "Too many requests"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
