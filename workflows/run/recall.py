"""What is remembered of the person and may help to plan a request; bounded in time, and never a reason not to plan."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError

from activities.memory.contract import LONGEST_QUERY, Memory, Recalled, RecallFacts
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.person_header import asking
from workflows.consent import lookups
from workflows.steps.activity import stop_if_cancelled

PATCH = "recall"
UNREADABLE = "what I remember could not be read, so it was not used"
_NO_WORKER = timedelta(seconds=1)
_IN_ALL = timedelta(seconds=3)


async def recall(request: str, asked_by: AskedBy) -> Recalled | None:
    """Return the remembered facts for a request; empty for a person without any, None if they cannot be read now.

    A person without facts costs one local activity, and one with facts one activity more.
    """
    if await lookups.remembers(asked_by.person) is False:
        return Recalled()
    name = f"{Memory.name}.recall"
    try:
        with asking(asked_by):
            reading = workflow.start_activity(
                name,
                RecallFacts(query=request[:LONGEST_QUERY]),
                task_queue=Memory.task_queue(),
                result_type=Recalled,
                schedule_to_start_timeout=_NO_WORKER,
                schedule_to_close_timeout=_IN_ALL,
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary="what is remembered",
            )
        found: Recalled = await reading
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from None
        stop_if_cancelled()
        workflow.logger.warning("nothing was recalled: %s", error.cause or error)
        return None
    stop_if_cancelled()
    return found
