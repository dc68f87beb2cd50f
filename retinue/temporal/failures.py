"""Failures as Temporal carries them."""

from temporalio.exceptions import ApplicationError


def non_retryable(kind: str, message: str) -> ApplicationError:
    """Return a failure that Temporal does not retry. `kind` is its type, for the caller's program."""
    return ApplicationError(message, type=kind, non_retryable=True)
