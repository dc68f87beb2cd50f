"""Refuses large requests before anything reads them; what this service is told fits into a few kilobytes."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import too_large

MOST_BYTES = 64 * 1024


class BodyLimit:
    """Answers 413 to bodies that are longer than `MOST_BYTES`, or whose length is not told."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and not _fits(dict(scope["headers"])):
            await too_large()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _fits(headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" not in headers and length.isdigit() and int(length) <= MOST_BYTES
