"""Streams over outages: the workflow worker away, Temporal killed and started anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

import activities
from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal.registry import announce
from retinue.testing import ScriptedModel, plan_answer, scripted_model, serving
from tests.api.events.folding import Folded, events, once, same, until
from tests.faults.conftest import Server, connected
from tests.test_main_job import mail
from workers.runner import capability_worker, workflows_worker

pytestmark = pytest.mark.long

PLANNED = ("email", "reasoning")


@dataclass
class Frail:
    """A product whose parts can be taken away."""

    server: Server
    http: httpx.AsyncClient
    model: ScriptedModel
    client: Any
    worker: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def work(self) -> None:
        """Start the workflow worker; `worker.aclose()` takes it away."""
        await self.worker.enter_async_context(workflows_worker(self.client))


@pytest.fixture
async def frail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Frail]:
    """A stack of its own on a server with a file."""
    server = Server(tmp_path)
    server.start()
    async with AsyncExitStack() as things:
        things.callback(server.kill)
        model = await things.enter_async_context(scripted_model())
        shared = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
            "RETINUE_DATA_DIR": str(tmp_path),
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-canary-0123456789",
            "RETINUE_MODEL": "scripted",
        }
        for name, value in shared.items():
            monkeypatch.setenv(name, value)
        client = await connected()
        app = create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db"), client=client)
        address = await things.enter_async_context(serving(app))
        http = await things.enter_async_context(httpx.AsyncClient(base_url=address, timeout=60))
        frail = Frail(server, http, model, client)
        things.push_async_callback(frail.worker.aclose)
        await frail.work()
        for name in PLANNED:
            await announce(client, activities.load(name).CONTRACT.manifest())
        module = activities.load("reasoning")
        await things.enter_async_context(capability_worker(client, module.CONTRACT, module.plugin()))
        yield frail


async def test_a_stream_goes_on_after_the_worker_and_then_temporal_were_away(
    frail: Frail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.broker.IDLE_TTL", 0)
    frail.model.script("Mail it", plan_answer([mail("s1")]))
    assistant_id = (await frail.http.post("/v1/assistants", json={"message": "Mail it"})).json()["id"]
    path, folded = f"/v1/assistants/{assistant_id}/events", Folded()
    async with frail.http.stream("GET", path) as response:
        await until(events(response.aiter_lines()), folded, "status", status="awaiting_approval")

    await frail.worker.aclose()
    async with frail.http.stream("GET", path, headers={"Last-Event-ID": str(folded.last_id)}) as response:
        lines, said_so = response.aiter_lines(), asyncio.Event()
        told = events(noting(lines, "Temporal does not answer", said_so))
        known = len(folded.told)
        away = await until(told, folded, "status", status="awaiting_worker")
        assert "No workflow worker answers" in away.data["notices"][0]
        await frail.work()
        await until(told, folded, "status", status="awaiting_approval")
        assert folded.kinds()[known:] == ["status", "status"]

        frail.server.kill()
        reading = asyncio.create_task(until(told, folded, "end"))
        await asyncio.wait_for(said_so.wait(), 20)
        frail.server.start()
        await decide(frail, assistant_id, folded.approvals["ap-s1"])
        await reading
    assert [step["status"] for step in folded.steps] == ["rejected"]
    same(folded, (await frail.http.get(f"/v1/assistants/{assistant_id}")).json())
    once(folded)


async def noting(lines: AsyncIterator[str], comment: str, said: asyncio.Event) -> AsyncIterator[str]:
    """The same lines; `said` is set at the comment."""
    said_before = said.is_set
    async for line in lines:
        (said.set if line.startswith(":") and comment in line else said_before)()
        yield line


async def decide(frail: Frail, assistant_id: str, approval: dict[str, Any]) -> None:
    """Reject, as often as it takes until the server is there again and the decision is known."""
    body = {"decision": "reject", "args_hash": approval["args_hash"]}
    async with asyncio.timeout(30):
        while True:
            answer = await frail.http.post(f"/v1/assistants/{assistant_id}/approvals/{approval['id']}", json=body)
            if answer.status_code in (200, 409):
                return
            await asyncio.sleep(0.2)
