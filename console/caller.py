"""The public client, with the credentials of the person at the browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import Depends, Request

from retinue.client import AsyncClient

PASSED_ON = ("cookie", "authorization")
"""Headers with the person's credentials."""
ASKED_BY = "x-retinue-console"
"""Marks the console's own requests in the API's log."""


class BrowserTransport(httpx.AsyncBaseTransport):
    """Calls the API in this process, with the browser's credentials and the page's own origin."""

    def __init__(self, request: Request) -> None:
        names: tuple[str, ...] = request.app.state.console_passes_on
        self._headers = {name: request.headers[name] for name in names if name in request.headers}
        site = f"{request.url.scheme}://{request.headers.get('host', '')}"
        self._headers |= {"origin": site, "sec-fetch-site": "same-origin", ASKED_BY: "1"}
        client = request.client
        self._inner = httpx.ASGITransport(
            app=request.app,
            raise_app_exceptions=False,
            client=(client.host, client.port) if client else ("127.0.0.1", 0),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the application."""
        for name, value in self._headers.items():
            request.headers.setdefault(name, value)
        return await self._inner.handle_async_request(request)


async def client(request: Request) -> AsyncIterator[AsyncClient]:
    """Yield the public client for one request of the browser."""
    async with AsyncClient(_base(request), "", transport=BrowserTransport(request), retries=0) as client:
        yield client


async def exchange(request: Request, credential: str) -> httpx.Response:
    """Exchange a key or token for a session. The answer sets the cookie."""
    async with _plain(request) as client:
        return await client.post("/v1/session", headers={"Authorization": f"Bearer {credential}"})


async def forget(request: Request) -> httpx.Response:
    """End the session of the browser's cookie."""
    async with _plain(request) as client:
        return await client.delete("/v1/session")


def _plain(request: Request) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=BrowserTransport(request), base_url=_base(request), timeout=20)


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"


Retinue = Annotated[AsyncClient, Depends(client)]
