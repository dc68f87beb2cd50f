"""Steps that wait until a person has connected an account again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from retinue.errors import AccountDisconnected

PATCH = "a step waits until its account is connected again"
LONGEST = timedelta(days=30)
"""How long a step waits at most; then it fails."""
_FIRST_LOOK = timedelta(minutes=10)
_LONGEST_PAUSE = timedelta(hours=6)


class Disconnected(BaseModel):
    """The account that a step needs, as the accounts service names it; empty if a worker did not say."""

    account_id: str = ""
    name: str = ""
    provider: str = ""
    link: str = ""


def disconnected_account(error: ActivityError) -> Disconnected | None:
    """Return the account that must be connected again before the step can be done; None for other failures."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or cause.type != AccountDisconnected.__name__:
        return None
    detail = cause.details[0] if cause.details else {}
    return Disconnected.model_validate(detail if isinstance(detail, Mapping) else {})


class AccountSignals:
    """Counts the signals that an account was connected. They say nothing but that it is worth looking again."""

    def __init__(self) -> None:
        self.count = 0

    def connected(self) -> None:
        """Count one."""
        self.count += 1

    async def next(self, seen: int, *, looks: int) -> None:
        """Wait for a signal after the first `seen`, or until the next look: a signal may be lost.

        Args:
            seen: How many had come when the step was last tried.
            looks: How often it was tried in vain; the pauses grow.
        """
        pause = min(_FIRST_LOOK * 2 ** min(looks, 10), _LONGEST_PAUSE)
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: self.count > seen, timeout=pause)
