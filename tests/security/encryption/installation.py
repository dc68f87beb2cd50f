"""One Temporal server with a file, and the product on it with the keys that a test gives it, as often as it likes."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

import activities
from api.app import create_app
from api.settings import ApiSettings
from retinue.runtime import logs
from retinue.temporal.connection import connect
from retinue.temporal.registry import announce
from retinue.testing import ScriptedModel, scripted_model
from tests.conftest import Stack, patient
from tests.faults.conftest import Server, connected
from workers.runner import capability_worker, workflows_worker

CAPABILITIES = ("calendar", "email", "reasoning", "tasks")


@dataclass
class Installation:
    """What stays when processes come and go."""

    data: Path
    model: ScriptedModel

    async def client(self, keys: str | None, *, required: bool = False) -> Client:
        """A client of a process with these keys."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("RETINUE_ENCRYPTION_KEYS", keys or "")
            environment.setenv("RETINUE_ENCRYPTION_REQUIRED", str(required))
            return await connect()

    @asynccontextmanager
    async def running(
        self,
        keys: str | None,
        *,
        required: bool = False,
        capabilities: Sequence[str] = CAPABILITIES,
        **settings: str,
    ) -> AsyncIterator[Stack]:
        """API and workers with these keys."""
        client = await self.client(keys, required=required)
        async with AsyncExitStack() as things:
            await things.enter_async_context(patient(workflows_worker(client)))
            for name in capabilities:
                module = activities.load(name)
                await things.enter_async_context(capability_worker(client, module.CONTRACT, module.plugin()))
                await announce(client, module.CONTRACT.manifest())
            http = await things.enter_async_context(self.front(client, **settings))
            yield Stack(http=http, temporal=client, model=self.model, data=self.data)

    @asynccontextmanager
    async def front(self, client: Client, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
        """The API alone."""
        app = create_app(ApiSettings(**settings), client=client)  # type: ignore[arg-type]  # all of them are texts
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http,
        ):
            yield http

    def files_with(self, word: str, *names: str) -> Iterator[tuple[str, int]]:
        """In which of these files, by pattern, a word stands readably, and how often."""
        for pattern in names:
            for file in sorted(self.data.glob(pattern)):
                if count := file.read_bytes().count(word.encode()):
                    yield file.name, count


@asynccontextmanager
async def fresh_installation() -> AsyncIterator[Installation]:
    """A server with a file of its own, and what the processes of an installation are told."""
    with tempfile.TemporaryDirectory(prefix="retinue-encryption-") as folder, pytest.MonkeyPatch.context() as patch:
        server = Server(Path(folder))
        server.start()
        try:
            async with scripted_model() as model:
                variables = {
                    "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
                    "RETINUE_DATA_DIR": folder,
                    "OPENAI_BASE_URL": model.url,
                    "OPENAI_API_KEY": "sk-canary-0123456789",
                    "RETINUE_MODEL": "scripted",
                }
                for name, value in variables.items():
                    patch.setenv(name, value)
                patch.setattr(logs, "_discretion", False)
                await connected()
                yield Installation(Path(folder), model)
        finally:
            logging.setLogRecordFactory(logging.LogRecord)
            await asyncio.to_thread(server.kill)
