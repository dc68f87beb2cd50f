"""An MCP server in a plan through the front door: its worker is a process of its own, started by configuration alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from retinue.settings import ROOT
from retinue.temporal.registry import REGISTRY_ID
from retinue.testing import plan_answer
from tests.activities.mcp.conftest import SECRET, SERVER
from tests.conftest import Stack, pending, steps

Fresh = Callable[[str], str]


@dataclass
class Served:
    """A server that `python -m workers NAME` serves, and what it did."""

    name: str
    state: Path
    log: Path
    process: subprocess.Popen[bytes]

    def tool(self, verb: str, step_id: str = "s1", **args: Any) -> dict[str, Any]:
        return {"id": step_id, "tool": f"{self.name}.{verb}", "args": args}

    def calls(self) -> list[str]:
        return [line for line in (self.state / "calls").read_text().splitlines() if line != "started"]


@pytest.fixture
async def files(stack: Stack, tmp_path: Path) -> AsyncIterator[Served]:
    name = f"files-{uuid.uuid4().hex[:6]}"
    state = tmp_path / "state"
    state.mkdir()
    entry = {
        "command": sys.executable,
        "args": ["-P", str(SERVER), str(state)],
        "env": {"FILES_KEY": "${FILES_SECRET}"},
        "tools": {tool: {"read_only": True, "open_world": False} for tool in ("size", "tells")}
        | {"write-file": {"lookups": {"path": "size"}}},
    }
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {name: entry}}))
    environment = {
        "RETINUE_MCP_CONFIG": str(tmp_path / "mcp.json"),
        "FILES_SECRET": SECRET,
        f"{name.upper().replace('-', '_')}_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/files.db",
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  # it is to outlive this line, and starting takes no time
            [sys.executable, "-P", "-m", "workers", name],
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        async with asyncio.timeout(30):
            while name not in (await stack.http.get("/v1/capabilities")).text:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.1)
        yield Served(name, state, log, process)
    finally:
        process.terminate()
        process.wait(20)


async def test_a_tool_of_an_unknown_server_is_asked_and_happens_once(stack: Stack, fresh: Fresh, files: Served) -> None:
    message = fresh("Write a file")
    stack.model.script(message, plan_answer([files.tool("write_file", path="a.txt", text="hello")]))
    view = await stack.asked((await stack.start(message))["id"])
    assert files.calls() == []
    [asked] = pending(view)
    assert (asked["tool"], asked["args"]) == (f"{files.name}.write_file", {"path": "a.txt", "text": "hello"})
    assert asked["preview"].startswith(f"{files.name}: write-file")
    assert {"it reaches other people or systems", "it cannot be undone"} <= set(asked["reasons"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert (view["status"], steps(view)["s1"]["result"]) == ("completed", {"result": "written"})
    assert files.calls() == ["write-file a.txt 5"]


async def test_a_card_shows_what_an_id_of_the_server_stands_for(stack: Stack, fresh: Fresh, files: Served) -> None:
    """The operator's file names the tool that reads it; what that says was written by others."""
    message = fresh("Write a file")
    stack.model.script(message, plan_answer([files.tool("write_file", path="a.txt", text="hello")]))
    view = await stack.asked((await stack.start(message))["id"])
    [asked] = pending(view)
    [thing] = asked["card"]["things"]
    assert (thing["argument"], thing["id"], thing["by_others"]) == ("path", "a.txt", True)
    assert thing["facts"] == [{"label": "bytes", "value": "12"}]
    assert "which is bytes 12 (others may have written this)" in asked["preview"]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_what_is_refused_is_not_sent(stack: Stack, fresh: Fresh, files: Served) -> None:
    message = fresh("Write a file")
    stack.model.script(message, plan_answer([files.tool("write_file", path="a.txt", text="hello")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject")
    view = await stack.ended(view["id"])
    assert steps(view)["s1"]["status"] == "rejected"
    assert files.calls() == []


async def test_what_the_operator_calls_harmless_runs_by_itself_and_feeds_other_steps(
    stack: Stack, fresh: Fresh, files: Served
) -> None:
    message = fresh("How large is it?")
    compose = {"instruction": "Say it.", "inputs": [{"$from": "s1", "path": "/bytes"}]}
    steps_of_plan = [files.tool("size", path="a"), {"id": "s2", "tool": "reasoning.compose", "args": compose}]
    stack.model.script(message, plan_answer(steps_of_plan))
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["status"], view["approvals"]) == ("completed", [])
    assert steps(view)["s2"]["result"]["text"] == "composed: [12]"


async def test_when_the_server_dies_in_the_middle_only_a_yes_repeats_it(
    stack: Stack, fresh: Fresh, files: Served
) -> None:
    message = fresh("Write a file")
    (files.state / "die").touch()
    stack.model.script(message, plan_answer([files.tool("write_file", path="a.txt", text="hello")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.until(view["id"], lambda v: [asked["kind"] for asked in pending(v)] == ["repeat"])
    assert "may have happened already" in pending(view)[0]["preview"]
    (files.state / "die").unlink()
    assert files.calls() == ["write-file a.txt 5"]
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert (view["status"], steps(view)["s1"]["status"]) == ("completed", "completed")
    assert files.calls() == ["write-file a.txt 5"] * 2


async def test_no_history_and_no_log_holds_the_secret(stack: Stack, fresh: Fresh, files: Served) -> None:
    message = fresh("Tell me")
    stack.model.script(message, plan_answer([files.tool("tells"), files.tool("fails", "s2")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert steps(view)["s1"]["result"] == {"result": "the key is [secret], other variables: None"}
    assert steps(view)["s2"]["error"]["type"] == "ServiceRefused"
    for workflow_id in (view["id"], REGISTRY_ID):
        assert SECRET.encode() not in await history(stack.temporal, workflow_id)
    assert SECRET not in files.log.read_text() + json.dumps(view)
    assert all(SECRET not in json.dumps(request) for request in stack.model.requests_for(message))


async def history(client: Client, workflow_id: str) -> bytes:
    events = (await client.get_workflow_handle(workflow_id).fetch_history()).events
    return b"".join(event.SerializeToString() for event in events)


async def test_the_worker_stops_cleanly_and_takes_its_server_along(files: Served) -> None:
    children = Path(f"/proc/{files.process.pid}/task/{files.process.pid}/children").read_text().split()
    files.process.terminate()
    assert files.process.wait(20) == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def test_a_variable_that_is_not_set_is_named(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"wiki": {"url": "${NO_SUCH_VARIABLE}"}}}))
    environment = {"PYTHONPATH": str(ROOT), "RETINUE_MCP_CONFIG": str(tmp_path / "mcp.json")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "wiki"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "NO_SUCH_VARIABLE is not set" in done.stderr) == (2, True)
