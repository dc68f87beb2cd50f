"""What the scenarios share."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from tests.conftest import Patient, Stack


@pytest.fixture
async def people(stack: Stack, tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Callable[[str], Stack]]]]:
    """More front doors onto the same runs: give a policy file, get a stack per person."""
    async with AsyncExitStack() as open_things:

        async def opened(policy: str) -> Callable[[str], Stack]:
            file = tmp_path / "policy.toml"
            file.write_text(policy)
            settings = ApiSettings(retinue_policy=file, retinue_user_header="X-User", retinue_chat_turns=5)
            app = create_app(settings, client=stack.temporal)
            await open_things.enter_async_context(app.router.lifespan_context(app))
            transport = Patient(httpx.ASGITransport(app))

            def person(name: str) -> Stack:
                http = httpx.AsyncClient(
                    transport=transport, base_url="http://localhost", timeout=60, headers={"X-User": name}
                )
                return dataclasses.replace(stack, http=http)

            return person

        yield opened
