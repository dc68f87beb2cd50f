"""Each capability's tools over MCP: the annotations of its manifest, and every call under the person's policy."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent

from tests.api.protocols.mcp.conftest import Opened
from tests.conftest import Stack, pending

TO = "guest@example.org"


def text(result: CallToolResult) -> str:
    [said] = result.content
    assert isinstance(said, TextContent)
    return said.text


def event(title: str) -> dict[str, Any]:
    return {"title": title, "start": "2031-03-04T10:00:00+00:00", "end": "2031-03-04T11:00:00+00:00"}


def mail() -> dict[str, Any]:
    return {"to": [TO], "subject": f"Lunch {uuid.uuid4().hex}", "body": "at noon"}


async def events(stack: Stack, opened: Opened, title: str) -> list[Any]:
    """The events of that title that stand in the calendar."""
    span = {"start": "2031-03-04T00:00:00+00:00", "end": "2031-03-05T00:00:00+00:00"}
    async with opened("/calendar") as client:
        found = (await client.call_tool("list_events", span)).structured_content
    return [event for event in found["events"] if event["title"] == title]


async def runs_of(stack: Stack, tool: str) -> set[str]:
    listed = (await stack.http.get("/v1/assistants?limit=100")).json()["assistants"]
    return {found["id"] for found in listed if found["message"].startswith(tool)}


@pytest.mark.parametrize("capability", ["calendar", "email", "weather", "contacts", "tasks"])
async def test_the_tools_are_those_of_the_manifest_with_its_annotations(
    stack: Stack, opened: Opened, capability: str
) -> None:
    listed = (await stack.http.get("/v1/capabilities")).json()["capabilities"]
    [manifest] = [found for found in listed if found["name"] == capability]
    async with opened(f"/{capability}") as client:
        assert client.server_info is not None
        assert client.server_info.name == f"retinue-{capability}"
        tools = {f"{capability}.{tool.name}": tool for tool in (await client.list_tools()).tools}
    expected = {spec["name"]: spec for spec in manifest["tools"] if spec["plannable"]}
    assert tools.keys() == expected.keys()
    for name, tool in tools.items():
        hints, notes = tool.annotations, expected[name]["annotations"]
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint) == (
            notes["read_only"],
            notes["destructive"],
            notes["idempotent"],
            notes["open_world"],
        )
        assert tool.description == expected[name]["description"]
        assert tool.input_schema["properties"] == expected[name]["args_schema"]["properties"]


async def test_a_call_gives_the_tools_own_result_and_asks_no_model(stack: Stack, opened: Opened) -> None:
    before = len(stack.model.requests)
    async with opened("/weather") as client:
        await client.list_tools()  # from now on the client checks results against the tool's schema
        result = await client.call_tool("current", {"place": "Lisbon"})
    assert not result.is_error, text(result)
    assert result.structured_content["place"]
    assert result.meta is not None
    view = await stack.ended(result.meta["retinue/assistant-id"])
    assert [step["tool"] for step in view["plan"]["steps"]] == ["weather.current"]
    assert (view["status"], view["usage"]["requests"], len(stack.model.requests)) == ("completed", 0, before)


async def test_an_effect_that_policy_asks_about_waits_and_is_done_once_when_a_person_approved(
    stack: Stack, opened: Opened
) -> None:
    """With a key the call that waited gives the tool's result once it was approved, and does not do it again."""
    args = mail()
    meta: Any = {"retinue/idempotency-key": uuid.uuid4().hex, "retinue/wait-seconds": 10}
    async with opened("/email") as client:
        result = await client.call_tool("send", args, meta=meta)
        assert result.is_error
        waiting = result.structured_content
        [approval] = waiting["approvals"]
        assert f"waits for approval {approval['id']}" in text(result)
        assert approval["link"] in text(result)
        assert approval["preview"] in text(result)
        assert "- it reaches other people or systems" in text(result)
        assert f"- to {args['to'][0]}: chosen by the model; you did not type it" in text(result)
        assert text(result).lower().count("cannot be undone") == 1
        search = {"query": args["subject"]}
        sent = await client.call_tool("search", {**search, "folder": "sent"})
        assert sent.structured_content["messages"] == []
        view = await stack.view(waiting["id"])
        [origin] = [found for found in pending(view)[0]["origins"] if found["path"] == "/to/0"]
        assert (origin["source"], origin["trusted"]) == ("model", False)
        assert (await stack.decide(view)).status_code == 200
        done = await client.call_tool("send", args, meta=meta)
        assert not done.is_error, text(done)
        assert done.structured_content["message_id"]
        assert (await stack.view(waiting["id"]))["status"] == "completed"
        sent = await client.call_tool("search", {**search, "folder": "sent"})
        assert len(sent.structured_content["messages"]) == 1


async def test_what_a_person_rejects_is_not_done_and_not_planned_around(stack: Stack, opened: Opened) -> None:
    before = len(stack.model.requests)
    async with opened("/email") as client:
        now: Any = {"retinue/wait-seconds": 0}
        result = await client.call_tool("send", mail(), meta=now)
    view = await stack.asked(result.structured_content["id"])
    await stack.decide(view, "reject")
    ended = await stack.ended(view["id"])
    assert [step["status"] for step in ended["plan"]["steps"]] == ["rejected"]
    assert len(stack.model.requests) == before


async def test_the_same_key_is_one_effect_however_often_and_in_parallel(stack: Stack, opened: Opened) -> None:
    title = f"Stand-up {uuid.uuid4().hex}"
    meta: Any = {"retinue/idempotency-key": uuid.uuid4().hex}
    async with opened("/calendar") as client:
        calls = await asyncio.gather(*(client.call_tool("create_event", event(title), meta=meta) for _ in range(5)))
        again = await client.call_tool("create_event", event(title), meta=meta)
        other = await client.call_tool("create_event", event("another"), meta=meta)
    done = [call.structured_content for call in [*calls, again] if not call.is_error]
    assert again.structured_content in done
    assert {call["event_id"] for call in done} == {again.structured_content["event_id"]}
    assert "another" in text(other)
    assert len(await events(stack, opened, title)) == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("create_event", {"title": "x"}, "start"),
        ("create_event", {"title": {"$from": "s0", "path": "/x"}, **event("")}, "title"),
        ("list_events", {"start": {"$from": "s0", "path": ""}, "end": "2031-03-05T00:00:00+00:00"}, "s0"),
        ("send", {}, "there is no tool"),
        ("calendar.list_events", {}, "there is no tool"),
    ],
)
async def test_arguments_that_do_not_fit_start_nothing(
    stack: Stack, opened: Opened, tool: str, arguments: dict[str, Any], says: str
) -> None:
    before = await runs_of(stack, "calendar.create_event")
    async with opened("/calendar") as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert says in text(result)
    assert await runs_of(stack, "calendar.create_event") == before
