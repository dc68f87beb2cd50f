"""What went wrong with a step or a run, as a type and a sentence for the person."""

from __future__ import annotations

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from retinue.errors import RetinueError
from workflows.dispatch import found_no_worker
from workflows.messages import StepError


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
