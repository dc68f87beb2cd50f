"""A front door on a real port with the stack behind it, for the official clients of each protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import serving
from tests.api.protocols.official import Judges, installed
from tests.conftest import Stack

NewKey = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
async def door(stack: Stack) -> AsyncIterator[str]:
    """The address of the stack's own kind of front door; it shares the stack's database."""
    async with serving(create_app(ApiSettings(), client=stack.temporal)) as address:
        yield address


@pytest.fixture
def new_key(stack: Stack) -> NewKey:
    """Makes API keys, as their person does."""

    async def make(*scopes: str) -> str:
        made = await stack.http.post("/v1/keys", json={"name": "a tool", "scopes": list(scopes) or None})
        assert made.status_code == 201, made.text
        key: str = made.json()["key"]
        return key

    return make


@pytest.fixture(scope="session")
async def judges(request: pytest.FixtureRequest) -> Judges:
    """Official clients and suites in JavaScript, installed in a thread: the stack's workers go on meanwhile."""
    assert request.config.cache is not None
    return await asyncio.to_thread(installed, request.config.cache.mkdir("judges"))
