"""The official OpenAI client as people's chat programs use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI

from api.app import create_app
from api.auth.principals import Person, Role
from api.deps import caller
from api.settings import ApiSettings
from tests.api.conftest import browsing
from tests.api.protocols.conftest import NewKey
from tests.conftest import Stack


@pytest.fixture
async def client(door: str, new_key: NewKey) -> AsyncIterator[AsyncOpenAI]:
    """With a key that may read and ask; a chat need not decide anything."""
    async with AsyncOpenAI(base_url=f"{door}/v1", api_key=await new_key("read", "ask"), max_retries=0) as made:
        yield made


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody of another organisation at the same front door."""
    app = create_app(ApiSettings(), client=stack.temporal)
    app.dependency_overrides[caller] = lambda: Person("eve", frozenset({Role.OWNER}), "umbrella")
    async with browsing(app) as http:
        yield http
