"""Delegated goals: a capability's own agent thinks in a child workflow, and everything that it wants meets the same
policy in the parent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from retinue.testing import plan_answer
from tests.conftest import Stack, pending, steps
from tests.days import SOON
from tests.test_main_job import sent_mails

Fresh = Callable[[str], str]


def delegated(agent: str, goal: str, **fields: Any) -> dict[str, Any]:
    return {"id": "s1", "agent": agent, "goal": goal, **fields}


def call(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool": tool, "args": args}


async def test_an_agent_works_with_its_own_tools_and_its_calls_are_steps_of_the_run(stack: Stack, fresh: Fresh) -> None:
    message, goal, title = fresh("Find a slot"), fresh("find a slot for the dentist"), fresh("Dentist")
    stack.model.script(message, plan_answer([delegated("calendar", goal)]))
    window = {"start": f"{SOON}T08:00:00+00:00", "end": f"{SOON}T18:00:00+00:00"}
    stack.model.agent(
        goal,
        [call("calendar.find_free_time", **window, duration_minutes=60)],
        [
            call(
                "calendar.create_event",
                title=title,
                start=f"{SOON}T10:00:00+00:00",
                end=f"{SOON}T11:00:00+00:00",
            )
        ],
        "Booked.",
    )
    done = await stack.ended((await stack.start(message))["id"])
    assert done["status"] == "completed", done
    assert [(step["id"], step["tool"], step["status"], step["parent"]) for step in done["plan"]["steps"]] == [
        ("s1", "calendar.agent", "completed", None),
        ("s1.1", "calendar.find_free_time", "completed", "s1"),
        ("s1.2", "calendar.create_event", "completed", "s1"),
    ]
    assert steps(done)["s1"]["result"] == {"text": "Booked."}
    assert done["usage"]["requests"] == 5
    [first, *_] = [r for r in stack.model.requests_for(goal) if "tools" in r]
    assert {tool["function"]["name"].partition("__")[0] for tool in first["tools"]} == {"calendar"}


async def test_what_an_agent_wants_to_send_is_asked_in_the_parent_and_its_inbox(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Tell team@example.com"), fresh("tell the team")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    wish = call("email.send", to=["team@example.com"], subject="Hi", body="Hello")
    stack.model.agent(goal, [wish], "Sent.")
    view = await stack.asked((await stack.start(message))["id"])
    assert pending(view)[0]["step_id"] == "s1.1"
    for _ in range(100):
        inbox = (await stack.http.get("/v1/approvals")).json()["approvals"]
        if any(item["assistant_id"] == view["id"] for item in inbox):
            break
        await asyncio.sleep(0.1)
    assert [item["step_id"] for item in inbox if item["assistant_id"] == view["id"]] == ["s1.1"]
    assert sent_mails(stack, view["id"]) == []
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert len(sent_mails(stack, view["id"])) == 1
    assert steps(done)["s1"]["status"] == "completed"


async def test_an_agent_hears_of_a_rejection_and_cannot_ask_the_same_again(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Tell team@example.com"), fresh("tell the team, insist")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    wish = call("email.send", to=["team@example.com"], subject="Hi", body="Hello")
    stack.model.agent(goal, [wish], [wish], "They said no.")
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject", comment="leave them alone")
    done = await stack.ended(view["id"])
    assert len(done["approvals"]) == 1
    assert [steps(done)[name]["status"] for name in ("s1.1", "s1.2")] == ["rejected", "rejected"]
    assert "leave them alone" in str(stack.model.requests_for(goal)[-1])
    assert steps(done)["s1"]["result"]["text"] == "They said no."


async def test_an_agent_cannot_use_what_is_not_its_own(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Weather please"), fresh("tell the weather, or mail it")
    stack.model.script(message, plan_answer([delegated("weather", goal)]))
    stack.model.agent(goal, [call("email.send", to=["team@example.com"], subject="x", body="y")], "I cannot.")
    done = await stack.ended((await stack.start(message))["id"])
    assert done["approvals"] == []
    assert [step["id"] for step in done["plan"]["steps"]] == ["s1"]
    assert "you have no tool" in str(stack.model.requests_for(goal)[-1])


async def test_an_agent_that_never_answers_has_an_end(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Look for ever"), fresh("look for ever")
    stack.model.script(message, plan_answer([delegated("weather", goal)]))
    look = [call("weather.current", place="Lisbon")]
    stack.model.agent(goal, *[look] * 7, "Enough.")
    done = await stack.ended((await stack.start(message, budget={"requests": 40}))["id"])
    assert len([step for step in done["plan"]["steps"] if step["parent"]]) == 7
    assert steps(done)["s1"]["result"]["text"] == "Enough."


async def test_cancelling_the_run_stops_its_agents(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Tell team@example.com"), fresh("tell the team, then be stopped")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    stack.model.agent(goal, [call("email.send", to=["team@example.com"], subject="Hi", body="Hello")], "Sent.")
    view = await stack.asked((await stack.start(message))["id"])
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")
    done = await stack.ended(view["id"])
    assert steps(done)["s1"]["status"] == steps(done)["s1.1"]["status"] == "cancelled"
    children = [child.id async for child in stack.temporal.list_workflows(f"ParentWorkflowId = '{view['id']}'")]
    assert set(children) <= {f"{view['id']}/s1/1"}  # no further turn was begun
    assert sent_mails(stack, view["id"]) == []
