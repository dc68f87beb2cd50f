"""One request of a person about their memory, made outside of any assistant: by the API for the console and the command line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue
from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.memory.contract import Memory
from retinue.provenance.asked_by import AskedBy, How
from retinue.temporal.person_header import asking
from workflows.consent import lookups

MEMORY_REQUEST_TYPE = "MemoryRequestWorkflow"
LONGEST = timedelta(seconds=12)
"""For the whole workflow, since a caller waits for the answer."""
_NO_WORKER = timedelta(seconds=4)
_ONE_TRY = timedelta(seconds=4)
Verb = Literal["list", "remember", "correct", "forget", "forget_all", "export"]


class MemoryRequest(BaseModel):
    """Input of `MemoryRequestWorkflow`."""

    owner: str
    verb: Verb
    args: dict[str, JsonValue] = Field(default_factory=dict)
    through: str = Field("", description="the API key that was used, in words")


@workflow.defn(name=MEMORY_REQUEST_TYPE)
class MemoryRequestWorkflow:
    """One call of a tool of memory, in the person's own words."""

    @workflow.run
    async def run(self, request: MemoryRequest) -> dict[str, Any]:
        """Return the tool's result; the same workflow id makes a change once."""
        name = f"{Memory.name}.{request.verb}"
        with asking(AskedBy(person=request.owner, through=request.through, how=How.TYPED)):
            calling = workflow.start_activity(
                name,
                request.args,
                task_queue=Memory.task_queue(),
                activity_id="s1",
                result_type=dict[str, Any],
                schedule_to_start_timeout=_NO_WORKER,
                start_to_close_timeout=_ONE_TRY,
                schedule_to_close_timeout=LONGEST - timedelta(seconds=2),
                retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(milliseconds=500)),
                summary=name,
            )
        result: dict[str, Any] = await calling
        await lookups.note_facts(request.owner, result)
        return result
