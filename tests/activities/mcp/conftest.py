"""Real MCP servers as capabilities: calls in an activity's surroundings, without a Temporal server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import RawValue
from temporalio.testing import ActivityEnvironment

import activities
from retinue.capability import Manifest, ToolSpec
from retinue.testing import serving
from tests.activities.mcp.web_server import TOKEN, Door, Tracker, tracker

SECRET = "canary-s3cret-42"
SERVER = Path(__file__).parent / "stdio_server.py"
Configure = Callable[..., str]


@dataclass
class Running:
    """The worker's part of one server, without a worker."""

    name: str
    run: Any
    manifests: AsyncIterator[Manifest]
    manifest: Manifest

    def tool(self, verb: str) -> ToolSpec:
        found = self.manifest.tool(f"{self.name}.{verb}")
        assert found is not None, [spec.name for spec in self.manifest.tools]
        return found

    async def call(self, verb: str, /, step: str = "", **arguments: Any) -> dict[str, Any]:
        """One attempt of a step; the same `step` is the same effect."""
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            activity_type=f"{self.name}.{verb}",
            workflow_id="run",
            activity_id=step or uuid.uuid4().hex,
        )
        raw = RawValue(environment.payload_converter.to_payload(arguments))
        result: dict[str, Any] = await environment.run(self.run, [raw])
        return result


@contextlib.asynccontextmanager
async def running(name: str) -> AsyncIterator[Running]:
    """What `python -m workers NAME` would serve."""
    module = activities.load(name)
    plugin = module.plugin()
    async with plugin.run_context(), contextlib.aclosing(module.manifests()) as manifests:
        yield Running(name, plugin.activities[0], manifests, await anext(manifests))


async def logged(start: AbstractAsyncContextManager[Running], caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Start what never gets ready, until the log says why."""
    starting = asyncio.ensure_future(start.__aenter__())
    for _ in range(600):
        if words in caplog.text:
            break
        await asyncio.sleep(0.05)
    assert (words in caplog.text, starting.done()) == (True, False)
    starting.cancel()
    await asyncio.wait([starting])


Start = Callable[[str], AbstractAsyncContextManager[Running]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the stdio server keeps what it did."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write a configuration with one server of a fresh name; gives the name."""
    file = tmp_path / "mcp.json"
    monkeypatch.setenv("RETINUE_MCP_CONFIG", str(file))
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FILES_SECRET", SECRET)
    fresh = f"files{uuid.uuid4().hex[:6]}"

    def write(name: str = fresh, **fields: Any) -> str:
        file.write_text(json.dumps({"mcpServers": {name: fields}}))
        return name

    return write


@pytest.fixture
def files(configure: Configure, state: Path) -> Configure:
    """The same for the stdio server of these tests; give it Retinue's own fields."""

    def write(**fields: Any) -> str:
        command = {"command": sys.executable, "args": ["-P", str(SERVER), str(state)]}
        return configure(**{**command, "env": {"FILES_KEY": "${FILES_SECRET}"}, **fields})

    return write


@dataclass
class Web:
    """The HTTP server of these tests."""

    url: str
    door: Door
    state: Tracker
    configure: Configure

    def configured(self, **fields: Any) -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.configure(**{"url": f"{self.url}/mcp", "headers": headers, "prefix": "tracker_", **fields})


@pytest.fixture(params=[False, True], ids=["stream", "json"])
async def web(configure: Configure, request: pytest.FixtureRequest) -> AsyncIterator[Web]:
    """It answers by event streams, or by plain JSON."""
    state = Tracker()
    app = tracker(state).streamable_http_app(json_response=request.param)
    door = Door(app)
    async with serving(door) as url:
        yield Web(url, door, state, configure)


@pytest.fixture
def calls(state: Path) -> Callable[[], list[str]]:
    """What the stdio server did."""
    return lambda: (state / "calls").read_text().splitlines()
