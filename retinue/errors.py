"""The errors of Retinue, split by who can act on them.

    RetinueError
    |-- CallerError            whoever asked can mend it; never retried
    |   |-- InvalidArguments   a value is wrong; the message says which and what is right
    |   |-- NotFound           the thing that was named does not exist (or is not yours)
    |   |-- Ambiguous          the name fits several things
    |   |-- Conflict           it was decided, changed or closed meanwhile
    |   |   `-- InProgress     the same request is being answered; ask again after `retry_after` seconds
    |   |-- TooMany            more often than is allowed; ask again after `retry_after` seconds
    |   |-- NotAuthenticated   no credential, or a bad one
    |   |-- NotAllowed         somebody else may do this, the caller may not
    |   `-- BrokenReference    a step refers to what another step did not return
    |-- ServiceError           an outer service or store did not do its part
    |   |-- ServiceUnavailable it may work later; retried
    |   |   |-- AnswerTooLong  it said more than is read
    |   |   |-- StoreUnavailable  the own database is full, read-only or away; waited for as for a missing worker
    |   |   |   `-- StoreLost  its file was deleted, replaced or damaged; its worker ends, so that a new one starts
    |   |   |-- ClockIsWrong   this machine's clock is so far from Temporal's that its proofs do not hold
    |   |   `-- Undecipherable what a run says is encrypted, and the keys here do not open it
    |   |-- ServiceBusy        it asked for a pause (`retry_after` seconds); retried after it
    |   |   |-- OutcomeOpen    an attempt may have acted and may still report; looked into again, then a person is asked
    |   |   |   `-- OutcomeNotRecorded  the own database does not work; waited for as for a missing worker
    |   |   `-- NotServedHere  this worker's version cannot do it, a newer one can; retried, then waited for
    |   |-- ServiceRefused     it will not, however often (wrong key, bad request); never retried
    |   `-- OutcomeUnknown     it may have acted or not, and no look can tell; never retried, a person is asked
    `-- ModelError             the language model's answer cannot be used
        |-- MalformedAnswer    not the JSON that was asked for; goes back to the model
        |-- RefusedAnswer      the model declines; never retried, and no other model is asked instead
        |-- UnusableAnswer     it stayed so after it went back; never retried, each try is paid
        `-- CutAnswer          too long or cut off; never retried, the same question gives the same answer

Everything else is a bug: it is not caught in the middle. There are two translations and no third: `to_application_error`
at an activity's edge, and `api.errors` (problem details) at the edge of the HTTP API.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from temporalio.exceptions import ApplicationError

LONGEST_WAIT = 120.0
"""Seconds. A service that wants a longer pause is reported to the person instead of waited for in silence."""


class RetinueError(Exception):
    """Base of all expected errors. `message` is written for the person; it holds no secret and no stranger's text."""

    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: tuple[BaseModel, ...] = ()
        """For workflows: they travel with the failure of an activity."""


class CallerError(RetinueError):
    """Whoever asked can mend it."""


class InvalidArguments(CallerError):
    """A value is wrong."""


class NotFound(CallerError):
    """What was named does not exist."""


class Ambiguous(CallerError):
    """The name fits several things."""


class Conflict(CallerError):
    """It was decided, changed or closed meanwhile."""


class InProgress(Conflict):
    """The same request is still being answered."""

    def __init__(self, message: str, *, retry_after: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TooMany(CallerError):
    """More often than is allowed."""

    def __init__(self, message: str, *, retry_after: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotAuthenticated(CallerError):
    """Nobody was recognised: there is no credential, or a bad one."""


class NotAllowed(CallerError):
    """Somebody else may do this."""


class BrokenReference(CallerError):
    """A step refers to what another step did not return."""


class ServiceError(RetinueError):
    """An outer service or store did not do its part."""


class ServiceUnavailable(ServiceError):
    """It may work later."""

    retryable = True


class AnswerTooLong(ServiceUnavailable):
    """It said more than is read; who can ask for less at once does so."""


class StoreUnavailable(ServiceUnavailable):
    """The capability's own database is full, read-only or away: nothing was changed, and the step waits for it."""


class StoreLost(StoreUnavailable):
    """The database's file was deleted, replaced or damaged while it was open; this process cannot use it any more."""


class ClockIsWrong(ServiceUnavailable):
    """This machine's clock is so far from Temporal's that its proofs do not hold; who runs it can mend that."""


class Undecipherable(ServiceUnavailable):
    """What a run says is encrypted, and the keys here do not open it; whoever runs this installation can mend that."""


class ServiceBusy(ServiceError):
    """It asked for a pause of `retry_after` seconds."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.retryable = retry_after <= LONGEST_WAIT


class OutcomeOpen(ServiceBusy):
    """An earlier attempt may have acted and may still report, so this one must not act."""


class OutcomeNotRecorded(OutcomeOpen):
    """An attempt acted, or may have, and the own database is full, read-only or away; waited for as `StoreUnavailable` is."""


class NotServedHere(ServiceBusy):
    """The registry knows more than this worker: it is of an older version, and another one will take the step."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=2)


class ServiceRefused(ServiceError):
    """It will not, however often it is asked."""


class OutcomeUnknown(ServiceError):
    """It may have acted or not. Inside `Ledger.once_outside` it is looked into first; what leaves it is for a person."""


class ModelError(RetinueError):
    """The language model's answer cannot be used."""


class MalformedAnswer(ModelError):
    """Not the JSON that was asked for."""

    retryable = True


class RefusedAnswer(ModelError):
    """The model declines to answer."""


class UnusableAnswer(ModelError):
    """It stayed useless after it was sent back to the model."""


class CutAnswer(ModelError):
    """Too long or cut off."""


def to_application_error(error: RetinueError, *, only_store: bool = False) -> ApplicationError:
    """Translate at an activity's edge: the type's name, whether to retry, and after which pause.

    Args:
        error: What was raised.
        only_store: The activity is tried for as long as its database does not work, and not because of anything else.
    """
    # here, since it costs the supervisor and the command line 20 MB, which translate nothing
    from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

    retryable = error.retryable and (not only_store or isinstance(error, StoreUnavailable | OutcomeNotRecorded))
    pause = timedelta(seconds=error.retry_after) if isinstance(error, ServiceBusy) and retryable else None
    return ApplicationError(
        error.message if error.hint is None else f"{error.message} ({error.hint})",
        *(detail.model_dump(mode="json") for detail in error.details),
        type=type(error).__name__,
        non_retryable=not retryable,
        next_retry_delay=pause,
        category=ApplicationErrorCategory.UNSPECIFIED,
    )
