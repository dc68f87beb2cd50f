"""Waiting over hours, on the time-skipping server: what lasts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.plugin import SimplePlugin
from temporalio.testing import WorkflowEnvironment

from activities.reasoning.contract import (
    ComposeRequest,
    ConverseRequest,
    ConverseResult,
    ExtractRequest,
    ExtractResult,
    ModelsRequest,
    ModelsResult,
    PausesRequest,
    PausesResult,
    PlanRequest,
    PlanResult,
    Reasoning,
    ReplyRequest,
    TextResult,
)
from retinue.activity_adapter import build_activities
from retinue.capability import Annotations
from retinue.plan import Plan, bind
from retinue.temporal.connection import DATA_CONVERTER, add_search_attributes
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from workers import temporal_server
from workers.runner import SANDBOX, capability_worker, workflows_worker
from workflows.messages import StartAssistant

CAREFUL = Annotations(read_only=False)


class FixedReasoning(Reasoning):
    """A planner that always plans one text, of which a person must approve."""

    async def plan(self, request: PlanRequest) -> PlanResult:
        plan = Plan.model_validate({"steps": [{"id": "s1", "tool": "reasoning.compose", "args": {"instruction": "x"}}]})
        manifest = Reasoning.manifest()
        tools = [spec.model_copy(update={"annotations": CAREFUL}) for spec in manifest.tools]
        return PlanResult(plan=bind(plan, [manifest.model_copy(update={"tools": tools})]))

    async def reply(self, request: ReplyRequest) -> TextResult:
        return TextResult(text=f"{request.steps[0].status}")

    async def converse(self, request: ConverseRequest) -> ConverseResult:
        raise NotImplementedError("no plan of these tests delegates")

    async def extract(self, request: ExtractRequest) -> ExtractResult:
        raise NotImplementedError("no plan of these tests reads values")

    async def pauses(self, request: PausesRequest) -> PausesResult:
        raise NotImplementedError("nobody asks")

    async def models(self, request: ModelsRequest) -> ModelsResult:
        raise NotImplementedError("nobody asks")

    async def compose(self, request: ComposeRequest) -> TextResult:
        return TextResult(text="written")


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server, with the workflow worker and a fixed planner."""
    binary = temporal_server.binary().with_name("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER, test_server_existing_path=str(binary)
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        plugin = SimplePlugin("reasoning", activities=build_activities(FixedReasoning()))
        async with (
            workflows_worker(environment.client, workflow_runner=SANDBOX),
            capability_worker(environment.client, Reasoning, plugin),
        ):
            yield environment


async def test_an_approval_waits_for_months(skipping: WorkflowEnvironment) -> None:
    """Nothing ends by itself while a person has not decided; the decision then counts as on the first day."""
    handle = await skipping.client.start_workflow(
        "AssistantWorkflow",
        StartAssistant(message="Write something"),
        id=f"a-{uuid.uuid4().hex}",
        task_queue="workflows",
    )
    started = await skipping.get_current_time()
    await skipping.sleep(timedelta(days=180))
    waiting = await handle.query("view", result_type=dict[str, Any])
    assert waiting["status"] == "awaiting_approval"
    await handle.signal("approve", {"approval_id": "ap-s1"})
    result: dict[str, Any] = await handle.result()
    assert (result["status"], result["reply"]) == ("completed", "completed")
    assert await skipping.get_current_time() - started >= timedelta(days=180)
