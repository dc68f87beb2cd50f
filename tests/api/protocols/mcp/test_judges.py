"""MCP's own programs as judges: the inspector works with the tools, the conformance suite finds nothing that it expects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.mcp.conftest import Opened
from tests.api.protocols.official import Judges
from tests.conftest import Stack

pytestmark = [pytest.mark.xdist_group("judges"), pytest.mark.timeout(600)]  # the first one installs them
Fresh = Callable[[str], str]
INSPECTOR = "node_modules/@modelcontextprotocol/inspector-cli/build/index.js"
CONFORMANCE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
TO = "guest@example.org"


async def inspected(judges: Judges, address: str, key: str, *arguments: str) -> dict[str, Any]:
    """What the inspector says to one request."""
    asked = (address, "--transport", "http", "--header", f"Authorization: Bearer {key}", *arguments)
    code, said = await judges.run(INSPECTOR, *asked)
    assert code == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


async def test_the_inspector_starts_a_run_meets_the_approval_decides_and_gets_the_result(
    stack: Stack, judges: Judges, door: str, new_key: NewKey, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    mail = {"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": "Lunch", "body": "at noon"}}
    stack.model.script(message, plan_answer([mail]), replies=[Answer("Sent.")])
    key = await new_key("read", "ask", "decide")

    async def called(tool: str, **arguments: str) -> dict[str, Any]:
        pairs = [part for name, value in arguments.items() for part in ("--tool-arg", f"{name}={value}")]
        answer = await inspected(judges, f"{door}/mcp", key, "--method", "tools/call", "--tool-name", tool, *pairs)
        assert not answer.get("isError"), answer
        content: dict[str, Any] = answer["structuredContent"]
        return content

    listed = await inspected(judges, f"{door}/mcp", key, "--method", "tools/list")
    assert {"start_assistant", "decide_approval"} <= {tool["name"] for tool in listed["tools"]}
    started = await called("start_assistant", message=message, wait_seconds="20")
    [approval] = started["approvals"]
    assert TO in approval["preview"]
    about = {"assistant_id": started["id"], "approval_id": approval["id"], "args_hash": approval["args_hash"]}
    ended = await called("decide_approval", **about, decision="approve", wait_seconds="20")
    assert (ended["status"], ended["reply"]) == ("completed", "Sent.")
    assert (await stack.view(started["id"]))["plan"]["steps"][0]["result"]["message_id"]


async def test_the_conformance_suite_finds_nothing_but_what_the_server_does_not_have(
    judges: Judges, door: str, tmp_path: Path
) -> None:
    """What passes: initialize, ping, tools, an unknown tool, and no foreign host or origin; judges/conformance.yaml has the rest."""
    baseline = Path(__file__).parents[1] / "judges/conformance.yaml"
    options = ("--expected-failures", str(baseline), "--output-dir", str(tmp_path))
    code, said = await judges.run(CONFORMANCE, "server", "--url", f"{door}/mcp", *options)
    assert code == 0, said[-3000:]
    for scenario in ("server-initialize", "ping", "tools-list", "tools-call-error", "dns-rebinding-protection"):
        assert f"✓ {scenario}: " in said


async def test_a_client_that_waits_is_told_that_the_work_goes_on(
    stack: Stack, opened: Opened, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.protocols.mcp.server.PROGRESS", 0.1)
    message, told = fresh("take your time"), []
    stack.model.script(message, Answer(plan_answer(reply="At last.").text, delay=1.0))

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with opened() as client:
        asked = {"message": message, "wait_seconds": 20}
        await client.call_tool("start_assistant", asked, progress_callback=note)
    assert len(told) >= 2
    assert [number for number, _ in told] == sorted({number for number, _ in told})
