"""The official MCP client as people's tools use it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

Opened = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def opened(door: str) -> Opened:
    """Opens a client of `/mcp` or of what stands below it, with or without a key."""

    @contextlib.asynccontextmanager
    async def client(path: str = "", *, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
        headers: dict[str, Any] = {"Authorization": f"Bearer {key}"} if key else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{door}/mcp{path}", http_client=http), mode=mode) as found,
        ):
            yield found

    return client
