"""Waiting over hours, on the time-skipping server: what ends, when, and how it is told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin
from temporalio.testing import WorkflowEnvironment

from activities.contacts.contract import Contacts
from activities.reasoning.contract import (
    ComposeRequest,
    PlanRequest,
    PlanResult,
    Reasoning,
    ReplyRequest,
    TextResult,
)
from retinue.edge import activities_of
from retinue.plan import Plan, bind
from retinue.temporal import DATA_CONVERTER, SEARCH_ATTRIBUTES, add_search_attributes
from workers import temporal_server
from workers.runner import capability_worker, workflows_worker
from workflows.messages import StartAssistant


class FixedReasoning(Reasoning):
    """A planner that always plans one look into the address book."""

    async def plan(self, request: PlanRequest) -> PlanResult:
        plan = Plan.model_validate({"steps": [{"id": "s1", "tool": "contacts.list"}]})
        return PlanResult(plan=bind(plan, [Contacts.manifest()]))

    async def reply(self, request: ReplyRequest) -> TextResult:
        return TextResult(text=f"{request.steps[0].status}: {request.steps[0].error}")

    async def compose(self, request: ComposeRequest) -> TextResult:
        raise NotImplementedError("not planned here")


@pytest.fixture
async def skipping() -> AsyncIterator[Client]:
    """A client of the time-skipping server, with the workflow worker and a fixed planner."""
    binary = temporal_server.binary().with_name("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER, test_server_existing_path=str(binary)
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        plugin = SimplePlugin("reasoning", activities=activities_of(FixedReasoning()))
        async with workflows_worker(environment.client), capability_worker(environment.client, Reasoning, plugin):
            yield environment.client


async def test_a_step_without_a_worker_ends_after_a_day(skipping: Client) -> None:
    """The documented limit: a day of patience, then a typed end that names the capability; nothing waits for ever."""
    handle = await skipping.start_workflow(
        "AssistantWorkflow",
        StartAssistant(message="Who is in my address book?"),
        id=f"a-{uuid.uuid4().hex}",
        task_queue="workflows",
    )
    started = await skipping.service_client.test_service.get_current_time(Empty())
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    ended = await skipping.service_client.test_service.get_current_time(Empty())
    assert isinstance(failed.value.cause, ApplicationError)
    view: dict[str, Any] = failed.value.cause.details[0]
    assert view["plan"]["steps"][0]["error"]["type"] == "NoWorker"
    assert view["reply"].startswith("failed: no worker took contacts.list in time")
    waited = timedelta(seconds=ended.time.seconds - started.time.seconds)
    assert timedelta(hours=24) <= waited < timedelta(hours=25)
