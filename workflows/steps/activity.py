"""Runs one activity; shows and waits for a missing worker or a worker's broken database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

from retinue.capability import ToolOptions, activity_options, store_options
from retinue.errors import NotServedHere, OutcomeNotRecorded, StoreLost, StoreUnavailable
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.person_header import asking
from workflows.failures import found_no_worker

FIRST_WAIT = 5.0
"""Seconds after which a step that no worker has taken is shown as `awaiting_worker`.

This is a schedule-to-start timeout rather than a timer, since it costs no history when a worker is there.
"""

NEXT_LOOK = 10.0
"""Seconds until a step that a worker of an older version took is scheduled again."""


STORE_ERRORS = frozenset({StoreUnavailable.__name__, StoreLost.__name__, OutcomeNotRecorded.__name__})
"""Transient errors of a worker whose own database is full, read-only or unavailable."""


@dataclass(frozen=True)
class Waiting:
    """Why an activity waits for its worker."""

    attempted: bool = False
    """Whether an earlier attempt may have acted."""
    reason: str = ""
    """What is wrong with the worker's own database; empty if no worker takes the activity."""


async def run_activity(
    name: str,
    argument: Any,
    *,
    task_queue: str,
    options: ToolOptions,
    activity_id: str | None = None,
    summary: str | None = None,
    on_waiting: Callable[[Waiting], None] | None = None,
    result_type: type | None = None,
    asked_by: AskedBy | None = None,
) -> Any:
    """Run an activity by name. While no capable worker takes it, call `on_waiting` and wait.

    It also waits while its worker's database does not work after all attempts of the tool's options.

    Each schedule uses the same `activity_id`, so that the effect keeps its key even if a worker was lost with an earlier
    attempt.

    Args:
        name: Of the activity's type.
        argument: Its only argument.
        task_queue: That its workers poll.
        options: How it is scheduled.
        activity_id: Of the step, if any.
        summary: For the Web UI.
        on_waiting: Called when it begins to wait, with the reason.
        result_type: Of the result.
        asked_by: Told to the worker, where its data are one person's.

    Raises:
        asyncio.CancelledError: The run was cancelled and the activity has stopped.
        ActivityError: It failed for good, or no capable worker took it within the tool's `patience`.
    """
    waits = [FIRST_WAIT, options.patience] if options.patience > FIRST_WAIT else [options.patience]
    waiting = Waiting()
    given_up_at = workflow.now() + timedelta(seconds=options.patience)
    while True:
        left = given_up_at - workflow.now()
        for_store = bool(waiting.reason)
        try:
            with asking(asked_by):
                running = workflow.start_activity(
                    name,
                    argument,
                    task_queue=task_queue,
                    activity_id=activity_id,
                    result_type=result_type,
                    summary=summary[:200] if summary else None,
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    **(
                        store_options(options, left)
                        if for_store
                        else activity_options(options, schedule_to_start=waits[0])
                    ),
                )
            return await running
        except ActivityError as error:
            if isinstance(error.cause, CancelledError):
                raise asyncio.CancelledError from None
            has_time = workflow.now() < given_up_at
            of_another_version = found_another_version(error) and has_time
            reason = store_problem(error) if has_time and not for_store else ""
            goes_on = of_another_version or for_store or bool(reason)
            if not goes_on and (len(waits) == 1 or not found_no_worker(error)):
                raise
            waiting = Waiting(attempted=waiting.attempted or may_have_acted(error), reason=reason)
        if for_store and not waiting.reason:
            continue  # schedule with the tool's own options again, whether or not the database works
        if on_waiting:
            on_waiting(waiting)
        if of_another_version:
            await workflow.sleep(NEXT_LOOK)
        elif not waiting.reason:
            waits = waits[1:]


def stop_if_cancelled() -> None:
    """Raise the cancellation of this task where it was swallowed.

    Temporal's SDK swallows it where what is awaited, and is waited for after a cancel, ends before it hears of it: an
    activity of `run_activity`, or a child workflow. Its result is returned, or its error raised, as if nothing had been
    cancelled.

    Raises:
        asyncio.CancelledError: This task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def store_problem(error: ActivityError) -> str:
    """Return what is wrong with the database of the worker that failed; empty for other failures."""
    cause = error.cause
    return cause.message if isinstance(cause, ApplicationError) and cause.type in STORE_ERRORS else ""


def found_another_version(error: ActivityError) -> bool:
    """Whether a worker of a version without this tool took it, as during a rollout or rollback."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == NotServedHere.__name__


def may_have_acted(error: ActivityError) -> bool:
    """Return whether an attempt may have acted before the step had to wait.

    For a missing worker the server keeps the failure of the previous attempt, which tells.
    """
    if isinstance(error.cause, ApplicationError):
        return error.cause.type == OutcomeNotRecorded.__name__
    return found_no_worker(error) and error.cause is not None and error.cause.__cause__ is not None
