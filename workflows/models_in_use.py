"""Shows, changes or tests which language models are used, by asking the reasoning capability."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.reasoning.contract import ModelAction, ModelsRequest, ModelsResult, Reasoning

MODELS_IN_USE_TYPE = "ModelsInUseWorkflow"
_LONGEST = timedelta(seconds=5)
_LONGEST_TEST = timedelta(seconds=50)


def longest(request: ModelsRequest) -> timedelta:
    """Return how long a caller waits at most; a server may load a model that is tested first."""
    return _LONGEST_TEST if request.action is ModelAction.TEST else _LONGEST


@workflow.defn(name=MODELS_IN_USE_TYPE)
class ModelsInUseWorkflow:
    """One request to the reasoning capability."""

    @workflow.run
    async def run(self, request: ModelsRequest) -> ModelsResult:
        """Try twice at most, and test once; fails if no worker answers in time."""
        found: ModelsResult = await workflow.execute_activity(
            f"{Reasoning.name}.models",
            request,
            task_queue=Reasoning.task_queue(),
            result_type=ModelsResult,
            schedule_to_close_timeout=longest(request),
            retry_policy=RetryPolicy(maximum_attempts=1 if request.action is ModelAction.TEST else 2),
            summary=f"{request.action} language models",
        )
        return found
