"""What carries the SDK's requests: to the configured address only, bounded in time and size, with our own errors."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

import httpx

from activities.a2a.config import Agent
from retinue.errors import ServiceRefused
from retinue.network.service_client import ExternalService

MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass
class Exchange:
    """One request to an agent: whether it changes something there, and the status that came back."""

    changes: bool = False
    status: int | None = None


EXCHANGE: ContextVar[Exchange | None] = ContextVar("a2a_exchange", default=None)
"""Of the request that is being made; the SDK has no place for it."""


def http_client(name: str, agent: Agent) -> httpx.AsyncClient:
    """Return a client with the agent's headers, for its address alone; the caller closes it."""
    return httpx.AsyncClient(
        transport=ConfinedTransport(name, agent),
        headers={
            **{field: value.get_secret_value() for field, value in agent.headers.items()},
            "Accept-Encoding": "identity",
            "User-Agent": "retinue",
        },
        follow_redirects=False,
        trust_env=False,
        timeout=agent.timeout_seconds,
    )


class ConfinedTransport(httpx.AsyncBaseTransport):
    """Sends each request by `ExternalService`, and none to another place than the one that the operator wrote."""

    def __init__(self, name: str, agent: Agent) -> None:
        self._name = f"the A2A agent {name}"
        self._origin = origin(httpx.URL(agent.url.get_secret_value()))
        self._inner = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(), follow_redirects=False, trust_env=False, timeout=agent.timeout_seconds
        )
        self._outside = ExternalService(
            self._inner, name=self._name, deadline=agent.timeout_seconds, most_bytes=MAX_BODY_BYTES
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises `RetinueError`s, which pass through the SDK as they are."""
        exchange = EXCHANGE.get() or Exchange()
        if origin(request.url) != self._origin:
            raise ServiceRefused(f"{self._name} wants to be asked somewhere else than at its configured address")
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        reply = await self._outside.request(
            request.method,
            str(request.url),
            headers=headers,
            content=await request.aread(),
            changes=exchange.changes,
        )
        exchange.status = reply.status
        if 300 <= reply.status < 400:
            raise ServiceRefused(f"{self._name} sends us somewhere else (HTTP {reply.status}); that is not followed")
        return httpx.Response(
            reply.status,
            headers={"content-type": reply.headers.get("content-type", "application/json")},
            content=reply.content,
            request=request,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
