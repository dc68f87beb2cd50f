"""The streamable HTTP transport: the SDK's, over a client that bounds what it reads and knows what became of a request.

The SDK ends a whole session, with every call in it, when one request fails on the wire, and then says of all of them that
the connection was closed. So failures become answers here, and what is known of a call (whether it was sent at all, and
the status of the answer) is noted in its `Fate`.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from activities.mcp.config import Server
from retinue.network.service_client import pause_asked

MAX_BODY_BYTES = 12 * 1024 * 1024
_CONNECT = 10.0
_BROKEN_STATUS = 599
"""Given to what came to nothing on the wire. No server sends it."""
_NEVER_SENT = (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_KEPT_HEADERS = ("content-type", "mcp-session-id", "location")


@dataclass
class Fate:
    """What became of one call on the wire."""

    sent: bool = False
    status: int | None = None
    pause: float | None = None
    """Seconds that the server asked for."""
    unreachable: BaseException | None = None
    """Why nothing could be sent."""


FATE: ContextVar[Fate | None] = ContextVar("mcp_call_fate", default=None)
"""Of the call that is being made. The SDK passes a caller's context on to the task that sends its request."""


def http_client(server: Server, transport: WatchedTransport) -> httpx2.AsyncClient:
    """Return a client with the server's headers. It follows no redirects; the SDK follows those within the origin."""
    return httpx2.AsyncClient(
        transport=transport,
        headers={
            **{name: value.get_secret_value() for name, value in server.headers.items()},
            "Accept-Encoding": "identity",
            "User-Agent": "retinue",
        },
        timeout=httpx2.Timeout(_CONNECT, read=server.timeout_seconds + _CONNECT),
    )


class WatchedTransport(httpx2.AsyncBaseTransport):
    """Bounded bodies, and failures as answers. Event streams pass as they are: the SDK bounds each event."""

    def __init__(self, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._inner = inner or httpx2.AsyncHTTPTransport()
        self.unreachable: BaseException | None = None
        """Why the last request could not be sent; None where it was."""
        self.status: int | None = None
        """What the last request was answered with."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; note what became of it."""
        fate = _of_the_call(FATE.get())
        # from here on it counts as sent, since a caller that stops waiting cannot know
        before, fate.sent, fate.status = fate.sent, True, None
        try:
            response = await self._inner.handle_async_request(request)
            return await self._received(request, response, fate)
        except _NEVER_SENT as error:
            fate.sent, fate.unreachable, self.unreachable = before, error, error
            return httpx2.Response(_BROKEN_STATUS, request=request)
        except httpx2.TransportError:
            fate.status = None
            return httpx2.Response(_BROKEN_STATUS, request=request)

    async def _received(self, request: httpx2.Request, response: httpx2.Response, fate: Fate) -> httpx2.Response:
        fate.status = self.status = response.status_code
        self.unreachable = None
        if "retry-after" in response.headers:
            fate.pause = pause_asked(response.headers["retry-after"], now=datetime.now(UTC))
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        if response.headers.get("content-type", "").lower().startswith("text/event-stream") and not encoded:
            return response
        body = None if encoded else await _bounded(response)
        await response.aclose()
        if body is None:
            fate.status = None
            return httpx2.Response(_BROKEN_STATUS, request=request)
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        return httpx2.Response(response.status_code, headers=kept, content=body, request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _of_the_call(fate: Fate | None) -> Fate:
    """Where to note what becomes of a request. What the SDK sends after a call, to cancel it, says nothing about it."""
    followed = fate is not None and fate.status is not None and 300 <= fate.status < 400
    return fate if fate is not None and (followed or not fate.sent) else Fate()


async def _bounded(response: httpx2.Response) -> bytes | None:
    """Return the body; None where it is longer than anybody may answer."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    content = bytearray()
    async for chunk in response.stream:
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            return None
    return bytes(content)
