"""Prometheus metrics of the front door."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "retinue_http_requests", "HTTP requests by route and status", ["method", "route", "status"], registry=REGISTRY
)
_SECONDS = Histogram("retinue_http_request_seconds", "Seconds per HTTP request", ["method", "route"], registry=REGISTRY)
ASSISTANTS_STARTED = Counter("retinue_assistants_started", "Assistants started or found by key", registry=REGISTRY)
DECISIONS = Counter("retinue_decisions", "Decisions accepted", ["decision"], registry=REGISTRY)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


class Metrics:
    """Counts and times every request by its route template, never by its path: ids would grow without end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            _REQUESTS.labels(scope["method"], route, status).inc()
            _SECONDS.labels(scope["method"], route).observe(time.perf_counter() - started)
