"""Lists or ends the pauses of models, by asking the reasoning capability."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.reasoning.contract import PausesRequest, PausesResult, Reasoning

MODEL_PAUSES_TYPE = "ModelPausesWorkflow"
LONGEST = timedelta(seconds=4)
"""For the whole workflow, since a caller waits for the answer."""


@workflow.defn(name=MODEL_PAUSES_TYPE)
class ModelPausesWorkflow:
    """One request to the reasoning capability."""

    @workflow.run
    async def run(self, request: PausesRequest) -> PausesResult:
        """Try twice at most; fails if no worker answers in time."""
        found: PausesResult = await workflow.execute_activity(
            f"{Reasoning.name}.pauses",
            request,
            task_queue=Reasoning.task_queue(),
            result_type=PausesResult,
            schedule_to_close_timeout=LONGEST,
            start_to_close_timeout=LONGEST / 2,
            retry_policy=RetryPolicy(maximum_attempts=2),
            summary="end the pauses of models" if request.end else "pauses of models",
        )
        return found
