"""The public client, as the person at the browser: what the page asks, it asks as anybody could."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import Depends, Request

from retinue.client import AsyncClient

PASSED_ON = ("cookie", "authorization")
"""Headers by which the front door recognises the person."""
ASKED_BY = "x-retinue-console"
"""Stands on the console's own requests to the API, for its log."""


class AsTheBrowser(httpx.AsyncBaseTransport):
    """Asks the front door of this very process, with what the browser brought along, and from the page's own site."""

    def __init__(self, request: Request) -> None:
        names: tuple[str, ...] = request.app.state.console_passes_on
        self._brought = {name: request.headers[name] for name in names if name in request.headers}
        site = f"{request.url.scheme}://{request.headers.get('host', '')}"
        self._brought |= {"origin": site, "sec-fetch-site": "same-origin", ASKED_BY: "1"}
        client = request.client
        self._inner = httpx.ASGITransport(
            app=request.app,
            raise_app_exceptions=False,
            client=(client.host, client.port) if client else ("127.0.0.1", 0),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        for name, value in self._brought.items():
            request.headers.setdefault(name, value)
        return await self._inner.handle_async_request(request)


async def client(request: Request) -> AsyncIterator[AsyncClient]:
    """The public client for one request of the browser."""
    async with AsyncClient(_base(request), "", transport=AsTheBrowser(request), retries=0) as client:
        yield client


async def exchange(request: Request, credential: str) -> httpx.Response:
    """Ask for a session in place of a key or token. The answer carries the cookie."""
    async with _plain(request) as client:
        return await client.post("/v1/session", headers={"Authorization": f"Bearer {credential}"})


async def forget(request: Request) -> httpx.Response:
    """End the session that the browser's cookie stands for."""
    async with _plain(request) as client:
        return await client.delete("/v1/session")


def _plain(request: Request) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AsTheBrowser(request), base_url=_base(request), timeout=20)


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"


Retinue = Annotated[AsyncClient, Depends(client)]
