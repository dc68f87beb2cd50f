"""A password without encryption stays on this machine, whatever proxy the environment names."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retinue.network import dav
from retinue.testing import serving


async def test_a_proxy_does_not_get_the_password_of_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    async def listen(request: Request) -> Response:
        heard.append(request.headers.get("Authorization", ""))
        return Response(status_code=404)

    async with AsyncExitStack() as opened:
        proxy = await opened.enter_async_context(serving(Starlette(routes=[Route("/{path:path}", listen)])))
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "")
        url = "http://127.0.0.1:9/book/"
        client = dav.client(url, username="ana", password=SecretStr("a password"), timeout=5)
        await opened.enter_async_context(client)
        with pytest.raises(httpx.ConnectError):
            await client.get(url)

    assert heard == []
