"""The errors of Retinue, split by who can act on them.

    RetinueError
    |-- CallerError            the caller can fix it; never retried
    |   |-- InvalidArguments   a value is wrong; the message says which and what is right
    |   |-- NotFound           the thing that was named does not exist (or is not yours)
    |   |-- Ambiguous          the name fits several things
    |   |-- Conflict           it was decided, changed or closed meanwhile
    |   |   `-- InProgress     the same request is being answered; ask again after `retry_after` seconds
    |   |-- TooMany            more often than is allowed; ask again after `retry_after` seconds
    |   |-- NotAuthenticated   no credential, or a bad one
    |   |-- NotAllowed         the caller may not do this
    |   `-- BrokenReference    a step refers to what another step did not return
    |-- ServiceError           an outer service or store did not do its part
    |   |-- ServiceUnavailable it may work later; retried
    |   |   |-- AnswerTooLong  its answer exceeds the limit
    |   |   |-- StoreUnavailable  the own database is full, read-only or unavailable; waited for as for a missing worker
    |   |   |   `-- StoreLost  its file was deleted, replaced or damaged; its worker ends, so that a new one starts
    |   |   |-- ClockIsWrong   this machine's clock is so far from Temporal's that its proofs do not hold
    |   |   `-- Undecipherable a payload is encrypted with a key that is missing here
    |   |-- AccountDisconnected  the person must connect their account again; the step waits for it
    |   |-- ServiceBusy        it asked for a pause (`retry_after` seconds); retried after it
    |   |   |-- OutcomeOpen    an attempt may have acted and may still report; looked into again, then a person is asked
    |   |   |   `-- OutcomeNotRecorded  the own database does not work; waited for as for a missing worker
    |   |   `-- NotServedHere  this worker's version cannot do it, a newer one can; retried, then waited for
    |   |-- ServiceRefused     a permanent refusal (wrong key, bad request); never retried
    |   `-- OutcomeUnknown     it may have acted, and no check can tell; never retried, a person is asked
    `-- ModelError             the language model's answer cannot be used
        |-- MalformedAnswer    not the JSON that was asked for; goes back to the model
        |-- RefusedAnswer      the model declines; never retried, and no other model is asked instead
        |-- UnusableAnswer     still malformed after a repair; never retried, since each try costs money
        `-- CutAnswer          too long or cut off; never retried, the same question gives the same answer

Everything else is a bug and is not caught in between. Two places translate errors: `to_application_error` for activities,
and `api.errors` (problem details) for the HTTP API.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from temporalio.exceptions import ApplicationError

LONGEST_WAIT = 120.0
"""Seconds. A service that asks for a longer pause is reported to the person instead of waited for silently."""


class RetinueError(Exception):
    """Base of all expected errors. `message` is for the person; it contains no secret and no stranger's text."""

    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: tuple[BaseModel, ...] = ()
        """Details for workflows, sent with the failure of an activity."""


class CallerError(RetinueError):
    """The caller can fix it."""


class InvalidArguments(CallerError):
    """A value is wrong."""


class NotFound(CallerError):
    """The named thing does not exist."""


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
    """The caller is not authenticated: there is no credential, or a bad one."""


class NotAllowed(CallerError):
    """The caller may not do this."""


class BrokenReference(CallerError):
    """A step refers to what another step did not return."""


class ServiceError(RetinueError):
    """An outer service or store did not do its part."""


class ServiceUnavailable(ServiceError):
    """It may work later."""

    retryable = True


class AnswerTooLong(ServiceUnavailable):
    """The answer exceeds the limit; a caller that can ask for less does so."""


class StoreUnavailable(ServiceUnavailable):
    """The capability's own database is full, read-only or unavailable: nothing changed, and the step waits for it."""


class StoreLost(StoreUnavailable):
    """The database's file was deleted, replaced or damaged while open; this process cannot use it any more."""


class ClockIsWrong(ServiceUnavailable):
    """This machine's clock is so far from Temporal's that its proofs do not hold; the operator must set it."""


class Undecipherable(ServiceUnavailable):
    """A payload is encrypted with a key that is missing here; the operator must add it."""


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
    """An attempt acted or may have, and the own database is unavailable; waited for like `StoreUnavailable`."""


class NotServedHere(ServiceBusy):
    """This worker's version is older than the registered one; another worker will take the step."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=2)


class ServiceRefused(ServiceError):
    """The service refuses permanently. `sign_in`: it does not accept the password or token."""

    def __init__(self, message: str, *, hint: str | None = None, sign_in: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sign_in = sign_in


class AccountDisconnected(ServiceError):
    """The person's account must be connected again: consent was withdrawn, or a password changed.

    The step waits, and goes on once the account works again. The hint is a link or a command that connects it.
    """


class OutcomeUnknown(ServiceError):
    """It may have acted or not. `Ledger.once_outside` checks first; if it still raises this, a person decides."""


class ModelError(RetinueError):
    """The language model's answer cannot be used."""


class MalformedAnswer(ModelError):
    """Not the JSON that was asked for."""

    retryable = True


class RefusedAnswer(ModelError):
    """The model declines to answer."""


class UnusableAnswer(ModelError):
    """Still malformed after it was sent back to the model."""


class CutAnswer(ModelError):
    """Too long or cut off."""


def to_application_error(error: RetinueError, *, only_store: bool = False) -> ApplicationError:
    """Translate an error for Temporal: the type's name, whether to retry, and after which pause.

    Args:
        error: The expected error.
        only_store: Whether the activity is retried only because its database does not work.
    """
    # imported here, since it costs 20 MB in the supervisor and the command line, which do not need it
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
