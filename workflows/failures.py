"""Explains failures of steps and runs as a type and a sentence for the person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from activities.reasoning.contract import UsedSoFar
from retinue.conversation import Usage
from retinue.errors import RetinueError
from workflows.messages import StepError


def used_by(error: BaseException | None) -> Usage | None:
    """Return the model usage that a failed activity reports, of all attempts together; None if it reports none."""
    while error is not None:
        told: Sequence[Any] = ()
        if isinstance(error, ApplicationError):
            told = error.details
        elif isinstance(error, TimeoutError):
            told = error.last_heartbeat_details
        for detail in told:
            if isinstance(detail, dict) and "used_so_far" in detail:
                return UsedSoFar.model_validate(detail).used_so_far
        error = error.__cause__
    return None


def explain(error: BaseException, *, who: str) -> StepError:
    """Translate a failure into words. `who` is what failed, such as `weather.forecast`."""
    if isinstance(error, RetinueError):
        return StepError(type=type(error).__name__, message=error.message)
    if isinstance(error, ActivityError):
        if found_no_worker(error):
            return StepError(type="NoWorker", message=f"no worker took {who} in time; is its capability running?")
        if error.cause:
            return explain(error.cause, who=who)
    if isinstance(error, ApplicationError):
        return StepError(type=error.type or "Error", message=error.message)
    if isinstance(error, TimeoutError):
        late = "its worker went silent" if error.type is TimeoutType.HEARTBEAT else "it took too long"
        return StepError(type="Timeout", message=f"{who} did not finish: {late}")
    return StepError(type=type(error).__name__, message=f"{who} failed")


def found_no_worker(error: ActivityError) -> bool:
    """Whether an activity ended because no worker took it from its queue in time."""
    return isinstance(error.cause, TimeoutError) and error.cause.type is TimeoutType.SCHEDULE_TO_START
