"""HEAD for every GET: the same answer without its body."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Answers HEAD like GET, without the body. A stream ends right after its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, a HEAD as a GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # shared with the copy: middleware reads what the route stored
        as_get = {**scope, "method": "GET"}
        with anyio.CancelScope() as answering:

            async def headers_only(message: Message) -> None:
                if message["type"] != "http.response.start":
                    return
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if not any(name == b"content-length" for name, _ in message["headers"]):
                    answering.cancel()  # otherwise a stream would continue without a reader

            await self._app(as_get, receive, headers_only)
        if "route" in as_get:
            scope["route"] = as_get["route"]
