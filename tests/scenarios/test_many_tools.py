"""More tools than a plan's request lists: the planner asks for those that it needs, and the run goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from activities.reasoning.prompts import MORE
from retinue.capability import Manifest, ToolSpec
from retinue.temporal.registry import FRESH, announce
from retinue.testing import plan_answer
from tests.conftest import Stack
from workflows.assistant import MAX_NEEDS

Fresh = Callable[[str], str]
LIST = {"id": "s1", "tool": "contacts.list", "args": {}}


def crowd(name: str, *, tools: int, version: str) -> Manifest:
    """A capability with so many tools, each with a long description."""
    specs = [
        ToolSpec(
            name=f"{name}.do_{n}",
            title=f"Do {n}",
            description=f"Do thing {n}. " * 30,
            args_schema={"type": "object"},
            examples=(),
        )
        for n in range(tools)
    ]
    return Manifest(name=name, version=version, description="For a test.", task_queue=name, tools=specs)


@pytest.fixture
async def crowded(stack: Stack) -> AsyncIterator[str]:
    """The name of a capability that is too large to be listed; afterwards it is small again."""
    name = f"crowd{uuid.uuid4().hex[:8]}"
    await announce(stack.temporal, crowd(name, tools=80, version="1"))
    await asyncio.sleep(FRESH)  # planning may not have read the registry since
    yield name
    await announce(stack.temporal, crowd(name, tools=1, version="2"))


async def test_a_planner_that_needs_other_tools_sees_them_and_plans(stack: Stack, fresh: Fresh, crowded: str) -> None:
    message = fresh("Who is in my address book?")
    stack.model.script(message, plan_answer(need=[f"{crowded}.do_79"]), plan_answer([LIST]))
    done = await stack.ended((await stack.start(message))["id"])
    first, second = [request["messages"] for request in stack.model.requests_for(message)][:2]
    assert (done["status"], done["usage"]["requests"]) == ("completed", 3)
    assert MORE in first[0]["content"]
    assert f"- {crowded}.do_79() -> " not in first[0]["content"]
    assert f"- {crowded}.do_79() -> " in second[-1]["content"]
    assert second[0] == first[0]


async def test_a_planner_that_only_asks_for_tools_is_told_to_plan(stack: Stack, fresh: Fresh, crowded: str) -> None:
    """It may ask twice; what it asks for then is refused like any plan that may not run."""
    message = fresh("What can you do with things?")
    asking = [plan_answer(need=[f"{crowded}.do_{n}"]) for n in range(MAX_NEEDS + 1)]
    stack.model.script(message, *asking, plan_answer(reply="Nothing."))
    done = await stack.ended((await stack.start(message))["id"])
    told = [request["messages"][-1]["content"] for request in stack.model.requests_for(message)]
    assert (done["status"], len(told)) == ("completed", MAX_NEEDS + 2)
    assert "no further tools are listed" in told[-1]
