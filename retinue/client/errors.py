"""What can go wrong, split by who can act.

ClientError
├── Unreachable             no answer came; `unsent` says that the request surely never arrived
├── NotUnderstood           something answered, but not Retinue's API
└── Refused                 the API said no, as a problem detail (RFC 9457)
    ├── BadRequest          400
    ├── NotAuthenticated    401: no credentials, or wrong ones
    ├── NotAllowed          403
    ├── NotFound            404: it does not exist, or it is somebody else's
    ├── Conflict            409: it was decided, changed or closed meanwhile
    ├── TooLarge            413
    ├── InvalidArguments    422: `errors` names each wrong value
    ├── TooManyRequests     429: `retry_after` says when
    ├── ServerError         500: a bug of the server's
    └── Unavailable         502, 503, 504: try again; `retry_after` says when, if it is known
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ClientError(Exception):
    """Base of all errors of this client. The text is for a person, says what to do and holds no credentials."""


class Unreachable(ClientError):
    """No answer came.

    Attributes:
        unsent: The request surely never arrived, so nothing can have happened.
    """

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent


class NotUnderstood(ClientError):
    """Something answered that is not Retinue's API, or one of another version."""


@dataclass(frozen=True)
class WrongValue:
    """One wrong value of a request: JSON pointer into the body (or `/query/...`), and what is wrong with it."""

    pointer: str
    detail: str


class Refused(ClientError):
    """The API said no.

    Attributes:
        status: The HTTP status.
        detail: What went wrong and what to do, in a sentence.
        kind: Names the kind of problem, as in `urn:retinue:problem:not-found`.
        errors: For wrong input: each wrong value.
        retry_after: Seconds after which it may be tried again, where the API says so.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        kind: str = "about:blank",
        errors: Sequence[WrongValue] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = tuple(errors)
        self.retry_after = retry_after


class BadRequest(Refused):
    """The request could not be read."""


class NotAuthenticated(Refused):
    """There were no credentials, or they are not valid (any more)."""


class NotAllowed(Refused):
    """You, or the API key that you use, may not do this."""


class NotFound(Refused):
    """There is no such thing, or it is not yours."""


class Conflict(Refused):
    """It was decided, changed or closed meanwhile: read it again."""


class TooLarge(Refused):
    """The body is larger than the API takes."""


class InvalidArguments(Refused):
    """A value is wrong."""


class TooManyRequests(Refused):
    """You ask too often."""


class ServerError(Refused):
    """A bug of the server's; its log has the details."""


class Unavailable(Refused):
    """The API, or Temporal behind it, does not answer at the moment."""


BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidArguments,
    429: TooManyRequests,
    500: ServerError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
