"""A server of its own with the product on it in the mode `proved`, and somebody at its back door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

import activities
from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal.connection import connect
from retinue.temporal.registry import announce
from retinue.testing import ScriptedModel
from tests.conftest import Stack, patient
from tests.faults.conftest import Server
from workers.runner import SANDBOX, capability_worker, workflows_worker

CAPABILITIES = ("calendar", "email", "memory", "reasoning", "weather")
VARIABLES = ("RETINUE_DECISIONS", "RETINUE_DECISION_KEYS", "RETINUE_DECISION_KEY_FILE", "RETINUE_ANNOUNCE_KEYS")


@dataclass
class Installation:
    """What stays when processes come and go."""

    server: Server
    data: Path
    model: ScriptedModel

    async def client(self, **variables: str) -> Client:
        """A client of a process with these variables, and none of the others."""
        with pytest.MonkeyPatch.context() as environment:
            for name in VARIABLES:
                environment.setenv(name, variables.get(name, ""))
            return await connect()

    @asynccontextmanager
    async def running(self, *, capabilities: Sequence[str] = CAPABILITIES, **variables: str) -> AsyncIterator[Stack]:
        """API and workflow workers with these variables; the capabilities' workers know no keys."""
        client, plain = await self.client(**variables), await self.client()
        announcing = await self.client(RETINUE_ANNOUNCE_KEYS=variables.get("RETINUE_ANNOUNCE_KEYS", ""))
        async with AsyncExitStack() as things:
            await things.enter_async_context(patient(workflows_worker(client, workflow_runner=SANDBOX)))
            for name in capabilities:
                module = activities.load(name)
                await things.enter_async_context(capability_worker(plain, module.CONTRACT, module.plugin()))
                await announce(announcing, module.CONTRACT.manifest())
            http = await things.enter_async_context(self.front(client))
            yield Stack(http=http, temporal=plain, model=self.model, data=self.data)

    @asynccontextmanager
    async def front(self, client: Client, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
        """The API alone."""
        app = create_app(ApiSettings(**settings), client=client)  # type: ignore[arg-type]  # all of them are texts
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as http,
        ):
            yield http


async def refusal(update: Any) -> tuple[str | None, str]:
    """Type and words by which an update is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await asyncio.wait_for(update, 20)
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause.type, raised.value.cause.message
