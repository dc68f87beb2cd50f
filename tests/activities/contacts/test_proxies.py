"""A password without encryption stays on this machine, whatever proxy the environment names."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from activities.contacts.settings import ContactsSettings
from activities.contacts.worker import _client
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
        settings = ContactsSettings.model_validate(
            {"provider": "carddav", "url": "http://127.0.0.1:9/book/", "username": "ana", "password": "a password"}
        )
        client = await opened.enter_async_context(_client(settings))
        with pytest.raises(httpx.ConnectError):
            await client.get(str(settings.url))

    assert heard == []
