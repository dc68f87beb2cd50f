"""What a run costs its history: workflow tasks and bytes, counted and never timed."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from retinue.testing import plan_answer
from tests.conftest import Stack, View
from tests.scenarios.test_long_runs import run_ids
from tests.scenarios.test_plans import event
from tests.scenarios.test_races import activities_under_way, locked, own_worker
from workflows.messages import SendMessage, StartAssistant
from workflows.rules.budget import Limits

Fresh = Callable[[str], str]
BUDGET = {"steps": 120, "tool_calls": 120, "requests": 40}
MEGABYTE = 1024 * 1024
TURNS = 250
A_RUN = 100
"""Turns of a chat before it goes on as new, as installed."""


async def size(handle: WorkflowHandle[Any, Any]) -> int:
    """Bytes of a run's history, by the server's own count."""
    return int((await handle.describe()).raw_description.workflow_execution_info.history_size_bytes)


async def events_of(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    return list((await handle.fetch_history()).events)


def workflow_tasks(events: Sequence[HistoryEvent]) -> int:
    return sum(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED for event in events)


def a_hundred(step: Callable[[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [step(f"s{number}", f"Place {number}") for number in range(100)]


async def test_a_hundred_steps_at_once_take_at_most_eight_workflow_tasks(stack: Stack, fresh: Fresh) -> None:
    """One schedules them all, and their results are gathered: each further task takes what came in a quarter second."""
    message = fresh("The weather in a hundred places")
    plan = a_hundred(lambda name, place: {"id": name, "tool": "weather.current", "args": {"place": place}})
    stack.model.script(message, plan_answer(plan))
    view = await stack.start(message, budget=BUDGET, wait_seconds=30)
    assert [step["status"] for step in view["plan"]["steps"]] == ["completed"] * 100
    handle = stack.temporal.get_workflow_handle(view["id"])
    events = await events_of(handle)
    scheduled = Counter(
        event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "weather.current"
    )
    assert list(scheduled.values()) == [100]
    assert workflow_tasks(events) <= 8
    assert await size(handle) < MEGABYTE


async def test_a_hundred_results_that_come_together_need_few_workflow_tasks(stack: Stack, fresh: Fresh) -> None:
    """The count without the chances of timing: nobody may write while the steps are scheduled, then all results come
    while the workflow worker is away."""
    message, queue = fresh("A hundred events"), f"small-{uuid.uuid4().hex}"
    stack.model.script(message, plan_answer(a_hundred(lambda name, place: event(name, f"{message} {place}"))))
    with locked(stack, "calendar"):
        async with own_worker(stack, queue):
            handle = await stack.temporal.start_workflow(
                "AssistantWorkflow",
                StartAssistant(message=message, budget=Limits(**BUDGET)),
                id=f"a-{uuid.uuid4().hex}",
                task_queue=queue,
                result_type=dict[str, Any],
            )
            while len(await activities_under_way(stack, handle.id)) < 100:  # noqa: ASYNC110  # a look at the server
                await asyncio.sleep(0.05)
    while await activities_under_way(stack, handle.id):  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0.1)
    async with own_worker(stack, queue):
        assert (await handle.result())["status"] == "completed"
    assert workflow_tasks(await events_of(handle)) <= 8
    assert await size(handle) < MEGABYTE


def has_answered(turns: int) -> Callable[[View], bool]:
    return lambda view: bool(view["turns"] == turns)


@pytest.mark.long
async def test_a_long_chat_of_long_messages_stays_small_in_every_run(stack: Stack, fresh: Fresh) -> None:
    """What a chat carries over is beyond what a history may hold, and costs it a reference."""
    texts = [f"{fresh('Long')} {number} {'x' * 700}" for number in range(TURNS)]
    for text in texts:
        stack.model.script(text, plan_answer(reply=f"Answer to {text}"))
    chat_id = (await stack.start(texts[0], mode="chat"))["id"]
    handle = stack.temporal.get_workflow_handle(chat_id)
    for number in range(1, TURNS, 150):  # at most 200 may wait to be read
        for text in texts[number : number + 150]:
            await handle.signal("message", SendMessage(text=text))
        await stack.until(chat_id, has_answered(min(number + 150, TURNS)), seconds=50)
    view = await stack.view(chat_id)
    assert [message["text"] for message in view["messages"]][::2] == texts
    runs = [
        stack.temporal.get_workflow_handle(chat_id, run_id=assistant_id)
        for assistant_id in await run_ids(stack, chat_id)
    ]
    assert len(runs) == 1 + TURNS // A_RUN
    assert max([await size(run) for run in runs]) < 2 * MEGABYTE
    assert sum(len(message["text"]) for message in view["messages"]) > 2 * 128 * 1024
    [carried] = (await events_of(runs[0]))[0].workflow_execution_started_event_attributes.input.payloads
    assert carried.ByteSize() < 2048
    await handle.cancel()
