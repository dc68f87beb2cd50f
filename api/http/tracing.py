"""One trace per HTTP request. Imported only where traces are switched on."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.metrics import METHODS
from retinue.runtime.otlp import Traces

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Probes come every few seconds and say nothing in a trace."""


class TracingMiddleware:
    """Records each request as the root of a trace, named by its route's template, never by its path.

    Ids that a caller sends (`traceparent`) are not used: callers may be strangers, and could join their requests to others'
    traces.
    """

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record how it ended."""
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        with self._traces.request(method, http__request__method=method) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set(http__response__status_code=message["status"])
                    if message["status"] >= 500:
                        span.fails(str(message["status"]))
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                span.rename(f"{method} {route}")
                span.set(http__route=route)
