"""Work is handed out by turns of organisations: nobody waits behind somebody else's backlog."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowExecution
from temporalio.worker import Worker

from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.temporal.connection import BUILD_ID
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.api.conftest import eventually
from tests.api.tenancy.conftest import As
from tests.conftest import Stack, View

Organisations = Callable[[str], str]
HEAVY_RUNS, STEPS = 5, 30
LIGHT = 5


def counting(name: str) -> ToolSpec:
    return ToolSpec(
        name=f"{name}.count",
        title="Count",
        description="Counts.",
        args_schema={"type": "object", "properties": {"who": {"type": "string"}}},
        annotations=Annotations(read_only=True, destructive=False, open_world=False),
    )


async def queued(person: Stack, message: str, tool: str, who: str, count: int) -> View:
    """A run whose steps all wait for a worker."""
    plan = [{"id": f"s{number}", "tool": tool, "args": {"who": who}} for number in range(count)]
    person.model.script(message, plan_answer(plan))
    view = await person.start(message)
    handle = person.temporal.get_workflow_handle(view["id"])
    await eventually(handle.describe, lambda found: len(found.raw_description.pending_activities) == count, seconds=30)
    return view


async def test_a_small_organisation_does_not_wait_behind_a_large_backlog(
    people: As, organisations: Organisations
) -> None:
    """By order, not by time. Who belongs to the organisation with the backlog does wait behind it, as a control."""
    acme, umbrella = organisations("acme"), organisations("umbrella")
    heavy, colleague, light = people("anna", acme), people("zoe", acme), people("zoe", umbrella)
    name, mark = f"counter{uuid.uuid4().hex[:8]}", uuid.uuid4().hex[:8]
    manifest = Manifest(name=name, version="1", description="Counts.", task_queue=name, tools=[counting(name)])
    await announce(heavy.temporal, manifest)
    order: list[str] = []

    @activity.defn(name=f"{name}.count")
    async def count(args: dict[str, Any]) -> dict[str, Any]:
        order.append(args["who"])
        return {}

    def run(person: Stack, who: str, steps: int, number: int = 0) -> Any:
        return queued(person, f"Count {who} {number} {mark}", f"{name}.count", who, steps)

    views = await asyncio.gather(*[run(heavy, "heavy", STEPS, number) for number in range(HEAVY_RUNS)])
    late = [await run(colleague, "colleague", LIGHT), await run(light, "light", LIGHT)]
    async with Worker(
        heavy.temporal, task_queue=name, activities=[count], max_concurrent_activities=2, build_id=BUILD_ID
    ):
        await asyncio.gather(colleague.ended(late[0]["id"]), light.ended(late[1]["id"]))
        await asyncio.gather(*[heavy.ended(view["id"]) for view in views])
    assert len(order) == HEAVY_RUNS * STEPS + 2 * LIGHT
    place = {who: [n for n, other in enumerate(order) if other == who] for who in ("light", "colleague")}
    assert max(place["light"]) < 40, place
    assert min(place["colleague"]) > len(order) / 2, place


async def test_a_run_carries_the_share_of_its_organisation(people: As, organisations: Organisations) -> None:
    acme = organisations("acme")
    shares = {}
    for tenant in (acme, ""):
        anna, message = people("anna", tenant), f"Hello {uuid.uuid4().hex}"
        anna.model.script(message, plan_answer(reply="Hello!"))
        view = await anna.start(message, wait_seconds=10)
        found: WorkflowExecution = await anna.temporal.get_workflow_handle(view["id"]).describe()
        shares[tenant] = found.raw_info.priority.fairness_key
    assert shares == {acme: acme, "": "anna"}
