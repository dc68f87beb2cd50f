"""Hours and days, on the time-skipping server: reminders, escalation, expiry, holds, and a budget of time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
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
from workflows.rules.budget import Limits
from workflows.rules.policy_file import parse_policies

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CAREFUL = Annotations(read_only=False)
"""What nothing is said of counts as destructive and open to the world, so a person is asked."""
TWO_STEPS = {
    "steps": [
        {"id": "s1", "tool": "reasoning.compose", "args": {"instruction": "x"}},
        {"id": "s2", "tool": "reasoning.compose", "args": {"instruction": "y"}, "depends_on": ["s1"]},
    ]
}
Handle = WorkflowHandle[Any, dict[str, Any]]
View = dict[str, Any]


class FixedReasoning(Reasoning):
    """Plans two texts, of which a person must approve, and nothing more after a setback."""

    async def plan(self, request: PlanRequest) -> PlanResult:
        plan = Plan.model_validate(TWO_STEPS if request.round == 1 else {"steps": []})
        manifest = Reasoning.manifest()
        tools = [spec.model_copy(update={"annotations": CAREFUL}) for spec in manifest.tools]
        return PlanResult(plan=bind(plan, [manifest.model_copy(update={"tools": tools})]))

    async def reply(self, request: ReplyRequest) -> TextResult:
        return TextResult(text="; ".join(f"{step.id} {step.status}" for step in request.steps))

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


@pytest.fixture(scope="module")
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


async def started(skipping: WorkflowEnvironment, policy: str = "", **fields: Any) -> Handle:
    """A run under a policy whose one rule speaks of the texts, once its first step needs a person, a hold, or is done."""
    head = '[policies.default]\nextends = "default"\n'
    if policy:
        fields["policy"] = parse_policies(head + policy)["default"]
    handle: Handle = await skipping.client.start_workflow(
        "AssistantWorkflow",
        StartAssistant(message="Write something", **fields),
        id=f"a-{uuid.uuid4().hex}",
        task_queue="workflows",
        result_type=dict[str, Any],
    )
    return handle


def rule(text: str) -> str:
    return f'[[policies.default.rules]]\nname = "texts"\ntools = ["reasoning.compose"]\n{text}'


async def view_of(handle: Handle) -> View:
    """The view as it stands."""
    view: View = await handle.query("view", result_type=dict[str, Any])
    return view


async def awaits(handle: Handle) -> View:
    """The view once a person is asked; real time goes by meanwhile, since work must not be skipped over."""
    view = await view_of(handle)
    while view["status"] in ("planning", "running") or not view["plan"]:
        await asyncio.sleep(0.02)
        view = await view_of(handle)
    return view


def first_approval(view: View) -> View:
    """The first approval of a view."""
    approval: View = view["approvals"][0]
    return approval


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def statuses(view: View) -> list[str]:
    """The steps' statuses, of the first plan's two steps."""
    return [step["status"] for step in view["plan"]["steps"]]


async def test_reminders_and_escalation_come_at_their_hours(skipping: WorkflowEnvironment) -> None:
    handle = await started(
        skipping,
        rule('decide = "ask"\nremind_after = ["1h", "4h"]\nescalate_after = "8h"\nescalate_to = ["ben"]'),
    )
    asked = moment(first_approval(await awaits(handle))["asked_at"])
    seen = []
    for hours in (0.5, 0.6, 2.8, 0.2, 3.8, 0.2):  # 0.5, 1.1, 3.9, 4.1, 7.9 and 8.1 hours after it was asked
        await skipping.sleep(timedelta(hours=hours))
        now = first_approval(await view_of(handle))
        seen.append((now["reminders"], now["escalated_at"] is not None, now["by"]))
    assert seen == [
        (0, False, []),
        (1, False, []),
        (1, False, []),
        (2, False, []),
        (2, False, []),
        (2, True, ["local", "ben"]),
    ]
    escalated = first_approval(await view_of(handle))
    assert moment(escalated["reminded_at"]) - asked == pytest.approx(4 * HOUR, abs=MINUTE)
    assert moment(escalated["escalated_at"]) - asked == pytest.approx(8 * HOUR, abs=MINUTE)
    await handle.cancel()


@pytest.mark.parametrize(
    ("at_expiry", "status", "first_step"),
    [("deny", "expired", "rejected"), ("allow", "approved", "completed"), ("wait", "pending", "awaiting_approval")],
)
async def test_an_approval_expires_after_its_day(
    skipping: WorkflowEnvironment, at_expiry: str, status: str, first_step: str
) -> None:
    handle = await started(skipping, rule(f'decide = "ask"\nexpires_after = "1d"\nat_expiry = "{at_expiry}"'))
    await awaits(handle)
    await skipping.sleep(0.99 * DAY)
    before = await view_of(handle)
    assert (first_approval(before)["status"], first_approval(before)["overdue"]) == ("pending", False)
    assert statuses(before)[0] == "awaiting_approval"
    await skipping.sleep(0.02 * DAY)
    after = await awaits(handle)
    assert (first_approval(after)["status"], statuses(after)[0]) == (status, first_step)
    assert first_approval(after)["overdue"] == (at_expiry == "wait")
    await handle.cancel()


async def test_what_is_overdue_can_still_be_decided_weeks_later(skipping: WorkflowEnvironment) -> None:
    handle = await started(skipping, rule('decide = "ask"\nexpires_after = "1d"\nat_expiry = "wait"'))
    await awaits(handle)
    await skipping.sleep(30 * DAY)
    await handle.signal("approve", {"approval_id": "ap-s1"})
    assert statuses(await awaits(handle)) == ["completed", "awaiting_approval"]
    await handle.cancel()


async def test_by_default_an_approval_never_expires(skipping: WorkflowEnvironment) -> None:
    handle = await started(skipping)
    await awaits(handle)
    await skipping.sleep(60 * DAY)
    waiting = first_approval(await view_of(handle))
    assert (waiting["status"], waiting["expires_at"], waiting["reminders"]) == ("pending", None, 0)
    await handle.cancel()


async def test_what_is_automatic_and_cannot_be_taken_back_is_held_for_ten_seconds(
    skipping: WorkflowEnvironment,
) -> None:
    handle = await started(skipping, rule('decide = "auto"'))
    view = await handle.result()
    history = await handle.fetch_history()
    held = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert held == [timedelta(seconds=10)] * 2
    performed = [moment(step["held_until"]) for step in view["plan"]["steps"]]
    assert performed[1] - performed[0] >= timedelta(seconds=10)  # the second was held when the first was done


async def test_a_budget_of_time_does_not_count_the_waiting_for_people(skipping: WorkflowEnvironment) -> None:
    handle = await started(skipping, rule('decide = "ask"'), budget=Limits(seconds=60))
    await awaits(handle)
    await skipping.sleep(7 * DAY)
    await handle.signal("approve", {"approval_id": "ap-s1"})
    waiting = await awaits(handle)
    await skipping.sleep(7 * DAY)
    assert [approval["kind"] for approval in waiting["approvals"]] == ["action", "action"]
    assert waiting["budget"]["used"]["seconds"] < 60
    await handle.signal("approve", {"approval_id": "ap-s2"})
    assert (await handle.result())["status"] == "completed"


async def test_a_budget_of_time_counts_a_hold(skipping: WorkflowEnvironment) -> None:
    """Nobody is waited for then: the run itself lets the time go by."""
    handle = await started(
        skipping, f'hold = "2h"\n{rule("decide = " + chr(34) + "auto" + chr(34))}', budget=Limits(seconds=3600)
    )
    await skipping.sleep(3 * HOUR)
    view = await awaits(handle)
    assert [approval["kind"] for approval in view["approvals"]] == ["budget"]
    assert view["approvals"][0]["reasons"][0].endswith("seconds of this run")
    await handle.cancel()
