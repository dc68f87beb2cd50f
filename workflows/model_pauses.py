"""Which models are left alone, asked of the reasoning capability on behalf of somebody who looks, or who ends the pauses."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.reasoning.contract import PausesRequest, PausesResult, Reasoning

MODEL_PAUSES_TYPE = "ModelPausesWorkflow"
LONGEST = timedelta(seconds=4)
"""For all of it: somebody waits for the answer."""


@workflow.defn(name=MODEL_PAUSES_TYPE)
class ModelPausesWorkflow:
    """One question to the reasoning capability."""

    @workflow.run
    async def run(self, request: PausesRequest) -> PausesResult:
        """Ask once more where the first attempt fails; no worker in time is a failure."""
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
