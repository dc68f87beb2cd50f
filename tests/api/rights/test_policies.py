"""Policies, budgets and other people's runs: what a key that may not decide may choose, and what it may start."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, Json, refused
from tests.api.rights.conftest import Door
from tests.conftest import Stack, View
from tests.test_main_job import mail, sent_mails

NOT_ALLOWED = "this key may not decide"


async def over_mcp(caller: Stack, tool: str, at: str = "/mcp", **arguments: Any) -> Json:
    """Call a tool of an MCP server; gives its result as the protocol has it."""
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    answer = await caller.http.post(at, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    said = answer.text.partition("data: ")[2] or answer.text
    result: Json = json.loads(said)["result"]
    return result


async def schedule(caller: Stack, message: str, **fields: Any) -> httpx.Response:
    return await caller.http.post("/v1/schedules", json={"message": message, "cron": "0 4 1 1 *", **fields})


@pytest.mark.parametrize(
    ("body", "refused_as"),
    [
        ({"policy": "lax"}, "the policy 'lax'"),
        ({"policy": "board"}, "the policy 'board'"),
        ({"budget": {"requests": 16}}, "this budget"),
        ({"budget": {"seconds": 5, "steps": 31}}, "this budget"),
    ],
)
async def test_a_key_that_may_not_decide_chooses_nothing_laxer(
    door: Door, fresh: Fresh, body: Json, refused_as: str
) -> None:
    message = fresh("Mail the team")
    asked = {"message": message, **body}
    for path in ("/v1/assistants", "/v1/schedules"):
        more = {"cron": "0 4 1 1 *"} if path.endswith("schedules") else {}
        problem = refused(await door.asks.http.post(path, json=asked | more), 403, refused_as)
        assert NOT_ALLOWED in problem["detail"]
    told = await over_mcp(door.asks, "start_assistant", **asked)
    assert told["isError"]
    assert NOT_ALLOWED in str(told["content"])


async def test_it_may_choose_a_stricter_policy_and_a_smaller_budget(door: Door, fresh: Fresh) -> None:
    message = fresh("Say hello")
    door.asks.model.script(message, plan_answer([], reply="Hello."))
    started = await door.asks.start(message, policy="no-deletion", budget={"requests": 3, "cost": 1})
    view = await door.asks.ended(started["id"])
    assert view["budget"]["limits"] == {
        "requests": 3,
        "steps": 30,
        "tool_calls": 60,
        "cost": 1.0,
        "tokens": None,
        "seconds": None,
    }


@pytest.mark.parametrize("caller", ["person", "decides"])
async def test_who_may_decide_chooses_any_policy(door: Door, fresh: Fresh, address: str, caller: str) -> None:
    message, asker = fresh(f"Mail {address}"), getattr(door, caller)
    asker.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    view = await asker.ended((await asker.start(message, policy="lax", budget={"requests": 40}))["id"])
    assert (view["status"], len(sent_mails(asker, view["id"]))) == ("completed", 1)


async def lax(door: Door, message: str, address: str, **fields: Any) -> View:
    """A run of the person's under a policy that lets everything pass, once it has answered."""
    door.person.model.script(message, plan_answer([], reply="Hello."), plan_answer([mail("s1", to=address)]))
    run = (await door.person.start(message, policy="lax", **fields))["id"]
    return await door.person.until(run, lambda view: view["status"] in ("completed", "awaiting_input"))


async def test_nothing_is_said_into_a_chat_that_has_a_laxer_policy(door: Door, fresh: Fresh, address: str) -> None:
    chat = await lax(door, fresh("Hello"), address, mode="chat")
    body = {"message": f"Mail {address}"}
    refused(await door.asks.http.post(f"/v1/assistants/{chat['id']}/messages", json=body), 403, NOT_ALLOWED)
    told = await over_mcp(door.asks, "send_message", assistant_id=chat["id"], **body)
    assert told["isError"]
    assert sent_mails(door.person, chat["id"]) == []


async def test_a_run_with_a_laxer_policy_is_not_forked(door: Door, fresh: Fresh, address: str) -> None:
    message = fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    run = (await door.person.start(message, policy="lax"))["id"]
    await door.person.ended(run)
    again = {"from_step": "s1", "args": {"to": [f"x{address}"], "subject": "Hi", "body": "Hello"}}
    refused(await door.asks.http.post(f"/v1/assistants/{run}/fork", json=again), 403, NOT_ALLOWED)
    assert (await door.decides.http.post(f"/v1/assistants/{run}/fork", json=again)).status_code == 202


async def test_schedules_of_the_persons_are_not_started_by_a_key_that_only_asks(door: Door, fresh: Fresh) -> None:
    """Each run does what the person allowed to the schedule: it is theirs to say how often."""
    made = (await schedule(door.person, fresh("Mail the report"))).json()["id"]
    for what in ("run", "resume"):
        refused(await door.asks.http.post(f"/v1/schedules/{made}/{what}"), 403, NOT_ALLOWED)
    for what, status in (("pause", 200), ("", 204)):
        method = "DELETE" if not what else "POST"
        answer = await door.asks.http.request(method, f"/v1/schedules/{made}/{what}".rstrip("/"))
        assert answer.status_code == status, answer.text


async def test_it_runs_its_own_schedules_and_plans_in_code(door: Door, fresh: Fresh) -> None:
    message = fresh("Say hello")
    door.asks.model.script(message, plan_answer([], reply="Hello."))
    own = (await schedule(door.asks, message)).json()["id"]
    body = {"plan": "briefing", "plan_args": {"place": "Lisbon"}, "cron": "0 4 1 1 *"}
    briefing = (await door.person.http.post("/v1/schedules", json=body)).json()["id"]
    for made in (own, briefing):
        assert (await door.asks.http.post(f"/v1/schedules/{made}/resume")).status_code == 200
        assert (await door.asks.http.post(f"/v1/schedules/{made}/run")).status_code == 202
        await door.asks.http.delete(f"/v1/schedules/{made}")


async def test_taking_back_is_consent(door: Door, fresh: Fresh) -> None:
    """Undoing deletes what was made, which is asked about when somebody asks for it."""
    message, title = fresh("Add a task"), uuid.uuid4().hex
    step = {"id": "s1", "tool": "tasks.add", "args": {"title": title}}
    door.person.model.script(message, plan_answer([step]), Answer("It is there."))
    run = (await door.person.start(message))["id"]
    assert (await door.person.ended(run))["status"] == "completed"
    refused(await door.asks.http.post(f"/v1/assistants/{run}/undo"), 403, "'decide'")
    refused(await door.asks.http.post(f"/v1/assistants/{run}/cancel", json={"undo": True}), 403, NOT_ALLOWED)
    told = await over_mcp(door.asks, "cancel_assistant", assistant_id=run, undo=True)
    assert NOT_ALLOWED in str(told["content"])
    assert (await door.decides.http.post(f"/v1/assistants/{run}/undo")).status_code == 202
