"""A stack of its own for faults: a Temporal server with a file, and capability workers as processes that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

import activities
from api.app import create_app
from api.settings import ApiSettings
from retinue.errors import ServiceUnavailable
from retinue.temporal.connection import connect
from retinue.testing import scripted_model
from tests.conftest import Stack
from workers import children, temporal_server
from workers.children import Child
from workers.runner import capability_worker, workflows_worker

CAPABILITIES = ("calendar", "contacts", "email", "memory", "tasks", "weather")


@dataclass
class Server:
    """A killable Temporal server that finds its state again."""

    folder: Path
    port: int = field(default_factory=temporal_server.free_port)
    ui_port: int = field(default_factory=temporal_server.free_port)
    http_port: int = field(default_factory=temporal_server.free_port)

    def start(self) -> None:
        command = temporal_server.command(
            host="127.0.0.1",
            port=self.port,
            ui_port=self.ui_port,
            http_port=self.http_port,
            database=self.folder / "temporal.db",
        )
        self.process = temporal_server.start(command, log=self.folder / "temporal.log")
        deadline = time.monotonic() + 30
        while not temporal_server.answers("127.0.0.1", self.port):
            assert time.monotonic() < deadline, (self.folder / "temporal.log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class FaultStack(Stack):
    """The product with its API, workflow and reasoning workers in this process, and every other worker outside."""

    server: Server
    environment: dict[str, str]

    def worker(self, capability: str, *, module: str = "workers", **environment: str) -> Child:
        """A capability's worker process, not yet started; one activity at a time, so that a kill loses one attempt."""
        return Child(
            name=capability,
            module=module,
            arguments=[capability],
            environment={**self.environment, "RETINUE_WORKER_CONCURRENCY": "1", **environment},
            log=self.data / f"{capability}.log",
        )

    @contextlib.contextmanager
    def workers(self, *workers: Child) -> Iterator[None]:
        """Run these workers for a while; they are killed at the end."""
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            for worker in workers:
                kill(worker)


def kill(worker: Child) -> None:
    """`kill -9`, and wait until it is gone."""
    if worker.process is not None:
        worker.process.kill()
        worker.process.join(10)


def respawn(workers: Sequence[Child]) -> int:
    """Start again every worker that died; how many there were."""
    dead = [worker for worker in workers if worker.process is not None and not worker.process.is_alive()]
    for worker in dead:
        worker.start()
    return len(dead)


async def connected() -> Client:
    """A client of a server that was just started: its port may answer before its frontend does."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await connect()
            except (RuntimeError, ServiceUnavailable):
                await asyncio.sleep(0.2)


@pytest.fixture
async def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultStack]:
    """A fresh stack for one test."""
    server = Server(tmp_path)
    server.start()
    async with AsyncExitStack() as things:
        things.callback(server.kill)
        model = await things.enter_async_context(scripted_model())
        shared = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
            "RETINUE_DATA_DIR": str(tmp_path),
            "WEATHER_PROVIDER": "simulated",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-canary-0123456789",
            "RETINUE_MODEL": "scripted",
        }
        for name, value in shared.items():
            monkeypatch.setenv(name, value)
        children.prepare()
        client = await connected()
        await things.enter_async_context(workflows_worker(client))
        app = create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db"), client=client)
        await things.enter_async_context(app.router.lifespan_context(app))
        http = await things.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)
        )
        yield FaultStack(http=http, temporal=client, model=model, data=tmp_path, server=server, environment=shared)


@pytest.fixture
async def planner(faulty: FaultStack) -> AsyncIterator[None]:
    """The reasoning worker of the fault stack, and every capability announced."""
    from retinue.temporal.registry import announce

    module = activities.load("reasoning")
    for name in (*CAPABILITIES, "reasoning"):
        await announce(faulty.temporal, activities.load(name).CONTRACT.manifest())
    async with capability_worker(faulty.temporal, module.CONTRACT, module.plugin()):
        yield
