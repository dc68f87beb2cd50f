"""Traces and metrics by OpenTelemetry's standard variables (`OTEL_*`). Off by default; then nothing is imported.

Traces: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (OTLP over HTTP). Metrics of Temporal's SDK and
of workers: the same endpoint, or `OTEL_METRICS_EXPORTER=prometheus` with `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT`.
What a span may carry is decided in `retinue.runtime.otlp`: names and numbers, never content.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

Value = str | int | float | bool
_FLUSH = 2.0
"""Seconds that a process spends on its last spans when it ends."""


class Span(Protocol):
    """One piece of work in a trace."""

    def set(self, **attributes: Value) -> None:
        """Add attributes; a double underscore in a name becomes a dot."""

    def rename(self, name: str) -> None:
        """Replace the name, where it is known only later."""

    def fails(self, kind: str) -> None:
        """Mark it as failed by an error of this type."""


class Recorder(Protocol):
    """What records traces; see `retinue.runtime.otlp`."""

    def span(self, name: str, *, outgoing: bool, attributes: Mapping[str, Value]) -> AbstractContextManager[Span]:
        """Record a block."""

    def ids(self) -> dict[str, str]:
        """Return the ids of the current trace and span; empty without one."""

    def shutdown(self) -> None:
        """Send what waits, and end."""


_recorder: Recorder | None = None


class _NoSpan:
    def set(self, **attributes: Value) -> None:
        """Do nothing."""

    def rename(self, name: str) -> None:
        """Do nothing."""

    def fails(self, kind: str) -> None:
        """Do nothing."""


_NO_SPAN = contextlib.nullcontext(_NoSpan())


@dataclass(frozen=True)
class MetricsExport:
    """Where a process sends its metrics: it is scraped at `address`, or sends them to `url`."""

    address: str = ""
    url: str = ""
    headers: Mapping[str, str] | None = None


def wants_traces() -> bool:
    """Whether the environment asks for traces."""
    if _disabled() or os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() != "otlp":
        return False
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def wanted_metrics() -> MetricsExport | None:
    """Return where the environment wants metrics of Temporal's SDK; None if nowhere.

    Raises:
        ValueError: `OTEL_METRICS_EXPORTER` names an exporter that does not exist here.
    """
    exporter = os.environ.get("OTEL_METRICS_EXPORTER", "").strip()
    if _disabled() or exporter == "none":
        return None
    if exporter == "prometheus":
        host = os.environ.get("OTEL_EXPORTER_PROMETHEUS_HOST") or "127.0.0.1"
        return MetricsExport(address=f"{host}:{os.environ.get('OTEL_EXPORTER_PROMETHEUS_PORT') or '9464'}")
    if exporter not in ("", "otlp"):
        raise ValueError(f"OTEL_METRICS_EXPORTER={exporter}: there are otlp, prometheus and none")
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    url = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or (f"{base}/v1/metrics" if base else "")
    headers = os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    return MetricsExport(url=url, headers=dict(_pairs(headers))) if url else None


def use(recorder: Recorder | None) -> None:
    """Record traces of this process with this, or not at all."""
    global _recorder
    _recorder = recorder


def records() -> bool:
    """Whether this process records traces."""
    return _recorder is not None


def span(name: str, *, outgoing: bool = False, **attributes: Value) -> AbstractContextManager[Span]:
    """Record the block as a span of the current trace; without a trace, or switched off, it does nothing.

    Args:
        name: From a fixed set: never an id, an address or text of a person.
        outgoing: Whether it is a request to another service.
        attributes: A double underscore in a name becomes a dot. Only known ones are sent, see `retinue.runtime.otlp`.
    """
    return _NO_SPAN if _recorder is None else _recorder.span(name, outgoing=outgoing, attributes=attributes)


def trace_ids() -> dict[str, str]:
    """Return the ids of the current trace and span, for log lines; empty without one."""
    return {} if _recorder is None else _recorder.ids()


def stop() -> None:
    """Send the last spans, for two seconds at most: the collector may be away."""
    if _recorder is not None:
        last = threading.Thread(target=_recorder.shutdown, daemon=True)
        last.start()
        last.join(_FLUSH)


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _pairs(headers: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of `name=value,name=value`."""
    for pair in filter(None, (part.strip() for part in headers.split(","))):
        name, _, value = pair.partition("=")
        yield name.strip(), value.strip()
