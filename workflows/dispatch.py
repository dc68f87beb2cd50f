"""Scheduling one activity so that a missing worker is seen, waited for, and never silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError, TimeoutType

from retinue.capability import ToolOptions, activity_options
from retinue.errors import NotServedHere

FIRST_WAIT = 5.0
"""Seconds after which a step that no worker has taken is shown as `awaiting_worker`.

This is a schedule-to-start timeout rather than a timer, since it costs no history when a worker is there.
"""

NEXT_LOOK = 10.0
"""Seconds until a step that only workers of an older version took is scheduled again."""


async def run_activity(
    name: str,
    argument: Any,
    *,
    task_queue: str,
    options: ToolOptions,
    activity_id: str | None = None,
    summary: str | None = None,
    on_waiting: Callable[[bool], None] | None = None,
    result_type: type | None = None,
) -> Any:
    """Run an activity by name; when no worker that can do it takes it at first, say so by `on_waiting` and go on waiting.

    The same `activity_id` is used again, so that the effect's key stays the same even when an earlier attempt was lost
    with its worker.

    Args:
        name: Of the activity's type.
        argument: Its only one.
        task_queue: That its workers poll.
        options: How it is scheduled.
        activity_id: Of the step, where there is one.
        summary: For the Web UI.
        on_waiting: Told that no worker has taken it, and whether an earlier attempt was begun.
        result_type: What is returned.

    Raises:
        asyncio.CancelledError: The run was cancelled and the activity has stopped.
        ActivityError: It failed for good, or no worker that can do it came within the tool's `patience`.
    """
    waits = [FIRST_WAIT, options.patience] if options.patience > FIRST_WAIT else [options.patience]
    begun = False
    given_up_at = workflow.now() + timedelta(seconds=options.patience)
    while True:
        try:
            return await workflow.execute_activity(
                name,
                argument,
                task_queue=task_queue,
                activity_id=activity_id,
                result_type=result_type,
                summary=summary[:200] if summary else None,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                **activity_options(options, schedule_to_start=waits[0]),
            )
        except ActivityError as error:
            if isinstance(error.cause, CancelledError):
                raise asyncio.CancelledError from None
            of_another_version = found_another_version(error) and workflow.now() < given_up_at
            if not of_another_version and (len(waits) == 1 or not found_no_worker(error)):
                raise
            begun = begun or was_begun(error)
        if on_waiting:
            on_waiting(begun)
        if of_another_version:
            await workflow.sleep(NEXT_LOOK)
        else:
            waits = waits[1:]


def found_another_version(error: ActivityError) -> bool:
    """Whether only workers of a version without this tool took it. A new one is being rolled out, or was taken back."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == NotServedHere.__name__


def found_no_worker(error: ActivityError) -> bool:
    """Whether an activity ended because nobody took it from its queue in time."""
    return isinstance(error.cause, TimeoutError) and error.cause.type is TimeoutType.SCHEDULE_TO_START


def was_begun(error: ActivityError) -> bool:
    """Whether an attempt had been made before nobody took it any more: the server keeps what that one failed with."""
    return found_no_worker(error) and error.cause is not None and error.cause.__cause__ is not None
