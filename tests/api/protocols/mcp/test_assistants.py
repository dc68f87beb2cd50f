"""The official MCP client starts runs, meets approvals, decides them, and gets results; a key may narrow that."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mcp.types import CallToolResult, TextContent

from retinue.testing import plan_answer
from tests.api.conftest import refused
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.mcp.conftest import Opened
from tests.conftest import Stack

Fresh = Callable[[str], str]
TO = "guest@example.org"
READING = {"assistant_status", "list_approvals"}
ASKING = {"start_assistant", "send_message", "cancel_assistant"}


def mail(subject: str = "Lunch") -> Any:
    return plan_answer(
        [{"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": subject, "body": "at noon"}}]
    )


def told(result: CallToolResult) -> dict[str, Any]:
    """What a tool said: the same as structured content and as text."""
    [said] = result.content
    assert isinstance(said, TextContent)
    assert not result.is_error, said.text
    content: dict[str, Any] = result.structured_content
    assert json.loads(said.text) == content
    return content


def refusal(result: CallToolResult) -> str:
    [said] = result.content
    assert isinstance(said, TextContent)
    assert result.is_error
    return said.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_starts_meets_the_approval_decides_and_gets_the_result(
    stack: Stack, opened: Opened, fresh: Fresh, mode: str
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    async with opened(mode=mode) as client:
        started = told(await client.call_tool("start_assistant", {"message": message, "wait_seconds": 20}))
        assert started["status"] == "awaiting_approval"
        [approval] = started["approvals"]
        assert TO in approval["preview"]
        shown = next(iter((await stack.view(started["id"]))["approvals"]))
        assert {name: approval[name] for name in ("card", "reasons", "undo")} == {
            name: shown[name] for name in ("card", "reasons", "undo")
        }
        assert [origin["path"] for origin in approval["origins"]] == ["/to/0"]
        assert approval["card"]["undo"] == "It cannot be undone."
        assert approval["link"].endswith(f"/v1/assistants/{started['id']}")

        inbox = told(await client.call_tool("list_approvals", {}))["approvals"]
        assert approval in inbox

        about = {"assistant_id": started["id"], "approval_id": approval["id"], "wait_seconds": 20}
        unseen = await client.call_tool("decide_approval", {**about, "decision": "approve"})
        assert "args_hash" in refusal(unseen)
        other = await client.call_tool("decide_approval", {**about, "decision": "approve", "args_hash": "0" * 16})
        assert "does not match" in refusal(other)
        assert (await stack.view(started["id"]))["status"] == "awaiting_approval"
        decision = {"decision": "approve", "args_hash": approval["args_hash"]}
        told(await client.call_tool("decide_approval", {**about, **decision}))
        ended = told(await client.call_tool("assistant_status", {"assistant_id": started["id"], "wait_seconds": 20}))
    assert ended["status"] == "completed"
    assert ended["plan"]["steps"][0]["result"]["message_id"]
    assert ended["reply"] == (await stack.view(started["id"]))["reply"]


async def test_a_model_whose_key_may_not_decide_cannot_decide_whatever_it_tries(
    stack: Stack, opened: Opened, fresh: Fresh, new_key: NewKey, door: str
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    key = await new_key("read", "ask")
    async with opened(key=key) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READING | ASKING
        started = told(await client.call_tool("start_assistant", {"message": message}))
        await stack.asked(started["id"])
        [approval] = told(await client.call_tool("assistant_status", {"assistant_id": started["id"]}))["approvals"]
        about = {"assistant_id": started["id"], "approval_id": approval["id"], "args_hash": approval["args_hash"]}
        decided = await client.call_tool("decide_approval", {**about, "decision": "approve"})
        assert "decide" in refusal(decided)
    async with httpx.AsyncClient(base_url=door, headers={"Authorization": f"Bearer {key}"}) as http:
        path = f"/v1/assistants/{started['id']}/approvals/{approval['id']}"
        by_route = await http.post(path, json={"decision": "approve", "args_hash": approval["args_hash"]})
        refused(by_route, 403, "decide")
        refused(await http.post("/v1/keys", json={"name": "more"}), 403, "keys")
    view = await stack.view(started["id"])
    assert [found["status"] for found in view["approvals"]] == ["pending"]
    async with opened(key=key) as client:
        stopped = told(await client.call_tool("cancel_assistant", {"assistant_id": started["id"]}))
    assert stopped["status"] == "cancelled"


async def test_a_key_that_only_reads_sees_and_uses_no_tool_that_acts(opened: Opened, new_key: NewKey) -> None:
    async with opened(key=await new_key("read")) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READING
        assert "ask" in refusal(await client.call_tool("start_assistant", {"message": "anything"}))
    async with opened("/calendar", key=await new_key("read")) as client:
        assert (await client.list_tools()).tools == []
        assert "ask" in refusal(await client.call_tool("list_events", {}))


async def test_annotations_say_which_tools_only_read(opened: Opened) -> None:
    async with opened() as client:
        tools = (await client.list_tools()).tools
    notes = {tool.name: tool.annotations for tool in tools}
    assert {name for name, note in notes.items() if note and note.read_only_hint} == READING
    assert {name for name, note in notes.items() if note and note.destructive_hint} == notes.keys() - READING
    assert all(tool.output_schema for tool in tools)


async def test_a_question_is_answered_and_the_run_goes_on(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message = fresh("book it")
    stack.model.script(message, plan_answer(question="Which day?"), plan_answer(reply="Noted: Monday."))
    async with opened() as client:
        started = told(await client.call_tool("start_assistant", {"message": message}))
        await stack.until(started["id"], lambda view: view["status"] == "awaiting_input")
        asked = told(await client.call_tool("assistant_status", {"assistant_id": started["id"]}))
        assert (asked["status"], asked["question"]) == ("awaiting_input", "Which day?")
        said = {"assistant_id": asked["id"], "message": "Monday", "question_id": asked["question_id"]}
        done = told(await client.call_tool("send_message", {**said, "wait_seconds": 20}))
    assert (done["status"], done["reply"]) == ("completed", "Noted: Monday.")


async def test_the_same_key_is_the_same_run_and_another_request_with_it_is_refused(
    stack: Stack, opened: Opened, fresh: Fresh
) -> None:
    message = fresh("say hello")
    stack.model.script(message, plan_answer(reply="Hello."))
    meta: Any = {"retinue/idempotency-key": uuid.uuid4().hex}
    async with opened() as client:
        calls = [
            told(await client.call_tool("start_assistant", {"message": message, "wait_seconds": 20}, meta=meta))
            for _ in range(3)
        ]
        assert {call["id"] for call in calls} == {calls[0]["id"]}
        other = await client.call_tool("start_assistant", {"message": fresh("another")}, meta=meta)
        assert "another" in refusal(other)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("assistant_status", {"assistant_id": "a-nobody"}, "there is no assistant"),
        ("assistant_status", {}, "assistant_id"),
        ("assistant_status", {"assistant_id": "a-x", "wait_seconds": 31}, "wait_seconds"),
        ("start_assistant", {"message": " "}, "empty"),
        ("start_assistant", {"message": "x", "policy": "none-such"}, "there is no policy"),
        ("start_assistant", {"message": "x", "surprise": 1}, "surprise"),
        ("no_such_tool", {}, "there is no tool"),
        ("cancel_assistant", {"assistant_id": "retinue-registry"}, "there is no assistant"),
    ],
)
async def test_what_is_wrong_is_said_in_words(opened: Opened, tool: str, arguments: dict[str, Any], says: str) -> None:
    async with opened() as client:
        assert says in refusal(await client.call_tool(tool, arguments))


async def test_somebody_elses_assistant_does_not_exist(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    """A run of another owner answers exactly as an unknown one does."""
    theirs = f"a-{uuid.uuid4().hex}"
    handle = await stack.temporal.start_workflow(
        "AssistantWorkflow", {"message": "x", "owner": "eve"}, id=theirs, task_queue="nobody-polls-this"
    )
    async with opened() as client:
        answers = [
            refusal(await client.call_tool(tool, {"assistant_id": name, **more})).replace(name, "...")
            for tool, more in (("assistant_status", {}), ("cancel_assistant", {}), ("send_message", {"message": "x"}))
            for name in (theirs, "a-" + "0" * 32)
        ]
    await handle.terminate()
    assert answers[0::2] == answers[1::2]


async def test_a_bad_key_is_refused_before_the_protocol_begins(door: str) -> None:
    async with httpx.AsyncClient(base_url=door, headers={"Authorization": "Bearer rtn_no"}) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        answer = await http.post("/mcp", json=body)
        refused(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        refused(await http.post("/mcp/calendar", json=body), 401)


async def test_pages_of_other_sites_bodies_that_are_too_large_and_other_methods_are_refused(door: str) -> None:
    async with httpx.AsyncClient(base_url=door) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        refused(await http.post("/mcp", json=body, headers={"Origin": "https://evil.example"}), 403)
        refused(await http.post("/mcp", json={**body, "params": {"x": "y" * 70_000}}), 413)
        refused(await http.post("/mcp", content="x=1", headers={"Content-Type": "text/plain"}), 415)
        refused(await http.get("/mcp"), 405)
        refused(await http.post("/mcp/no-such", json=body), 404, "capability")
