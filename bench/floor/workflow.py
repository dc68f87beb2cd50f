"""The bare workflow: plan, two reads side by side, one write after both, answer. No approval, no view, no effect ledger."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from bench.floor.messages import CONTACTS, EVENTS, MEETINGS, MODEL, Contact, Event, Facts, Job, NewEvent

_OPTIONS: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(maximum_attempts=5),
}


@workflow.defn(name="FloorWorkflow")
class FloorWorkflow:
    """The job as straight code."""

    @workflow.run
    async def run(self, message: str) -> str:
        """Do the job and return the answer."""
        job = await workflow.execute_activity("floor.plan", message, task_queue=MODEL, result_type=Job, **_OPTIONS)
        contact, events = await asyncio.gather(
            workflow.execute_activity(
                "floor.find_contact", job.name, task_queue=CONTACTS, result_type=Contact, **_OPTIONS
            ),
            workflow.execute_activity(
                "floor.list_events", job.window, task_queue=EVENTS, result_type=list[Event], **_OPTIONS
            ),
        )
        meeting = NewEvent(title=contact.name, start=job.meeting.start, end=job.meeting.end)
        created = await workflow.execute_activity(
            "floor.create_event", meeting, task_queue=MEETINGS, result_type=Event, **_OPTIONS
        )
        facts = Facts(message=message, contact=contact, events=events, created=created)
        answer: str = await workflow.execute_activity(
            "floor.answer", facts, task_queue=MODEL, result_type=str, **_OPTIONS
        )
        return answer
