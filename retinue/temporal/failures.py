"""Failures as Temporal carries them."""

from temporalio.exceptions import ApplicationError


def non_retryable(kind: str, message: str) -> ApplicationError:
    """A failure that repeating cannot mend. `kind` is its type, for the caller's program."""
    return ApplicationError(message, type=kind, non_retryable=True)
