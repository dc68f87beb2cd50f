"""Prometheus metrics of the API."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "retinue_http_requests", "HTTP requests by route and status", ["method", "route", "status"], registry=REGISTRY
)
_SECONDS = Histogram(
    "retinue_http_request_seconds",
    "Seconds per HTTP request; of an event stream, until it started",
    ["method", "route"],
    registry=REGISTRY,
)
ASSISTANTS_STARTED = Counter("retinue_assistants_started", "Assistants started or found by key", registry=REGISTRY)
DECISIONS = Counter("retinue_decisions", "Decisions accepted", ["decision"], registry=REGISTRY)

TEMPORAL_UP = Gauge("retinue_temporal_up", "Whether Temporal answers this process (1) or not (0)", registry=REGISTRY)
OPEN_RUNS = Gauge("retinue_open_runs", "Runs that have not ended, by status", ["status"], registry=REGISTRY)
WAITING_RUNS = Gauge(
    "retinue_waiting_runs",
    "Runs that wait for a decision, by the age of the run: all of them, and those older than an hour, a day, a week",
    ["older_than"],
    registry=REGISTRY,
)
BACKLOG = Gauge("retinue_queue_backlog", "Tasks that wait in a queue, about", ["queue"], registry=REGISTRY)
BACKLOG_AGE = Gauge(
    "retinue_queue_backlog_age_seconds",
    "Seconds for which the oldest task of a queue waits",
    ["queue"],
    registry=REGISTRY,
)
POLLERS = Gauge("retinue_queue_workers", "Live workers of a queue", ["queue"], registry=REGISTRY)

_STREAM = b"text/event-stream"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Known methods: callers may invent others, and each label would be stored for ever."""


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


class MetricsMiddleware:
    """Counts and times every request by its route template, never by its path: ids would grow without end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, streamed_after = 500, None

        async def watched(message: Message) -> None:
            nonlocal status, streamed_after
            if message["type"] == "http.response.start":
                status = message["status"]
                streamed_after = time.perf_counter() - started if _is_stream(message) else None
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            _REQUESTS.labels(method, route, status).inc()
            seconds = time.perf_counter() - started if streamed_after is None else streamed_after
            _SECONDS.labels(method, route).observe(seconds)


def _is_stream(start: Message) -> bool:
    """Return whether it is a stream: its duration says nothing about response times."""
    return any(name == b"content-type" and value.startswith(_STREAM) for name, value in start["headers"])
