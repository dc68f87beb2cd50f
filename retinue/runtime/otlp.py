"""OpenTelemetry's SDK: what is recorded, and what of it leaves the process. Imported only where traces are switched on.

Spans leave through `KnownAttributes`, which copies the attributes of one list and nothing else: no text of an error, no stack
trace, no body, no address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from retinue.runtime import telemetry
from retinue.runtime.telemetry import Value

_UUID = r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"
_WORD = re.compile(r"[A-Za-z0-9_.:/{}@ +-]{1,100}")
_RUN_ID = re.compile(rf"(?:[a-z]+-)?{_UUID}(?:/[a-z0-9._-]{{1,40}})?")
"""Ids of runs, and of what a run starts. Ids of a person's own workflow name that person, and do not leave."""
_STEP_ID = re.compile(r"\d+|s\d+(?:\.\d+)*")
_ATTRIBUTES: Mapping[str, re.Pattern[str]] = {
    "http.request.method": _WORD,
    "http.route": _WORD,
    "http.response.status_code": _WORD,
    "peer.service": _WORD,
    "gen_ai.operation.name": _WORD,
    "gen_ai.request.model": _WORD,
    "gen_ai.usage.input_tokens": _WORD,
    "gen_ai.usage.output_tokens": _WORD,
    "retinue.capability": _WORD,
    "retinue.tool": _WORD,
    "retinue.repeated": _WORD,
    "error.type": _WORD,
    "exception.type": _WORD,
    "temporalWorkflowID": _RUN_ID,
    "temporalRunID": re.compile(_UUID),
    "temporalActivityID": _STEP_ID,
}
"""What may leave, and in which form. A value of another form is left out."""
_BEGINS_A_RUN = "StartWorkflow:"


class KnownAttributes(SpanExporter):
    """Sends copies of spans with the attributes of the list above."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        return self._exporter.export([_copied(span) for span in spans])

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._exporter.force_flush(timeout_millis)


def _copied(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name if _WORD.fullmatch(span.name) else "other",
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_known(span.attributes),
        events=[Event(event.name, _known(event.attributes), event.timestamp) for event in span.events],
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _known(attributes: Attributes) -> dict[str, Value]:
    return {
        name: value
        for name, value in (attributes or {}).items()
        if isinstance(value, Value) and name in _ATTRIBUTES and _has_form(name, value)
    }


def _has_form(name: str, value: Value) -> bool:
    return not isinstance(value, str) or _ATTRIBUTES[name].fullmatch(value) is not None


class _NoLonelyCalls(Sampler):
    """Leaves out calls that belong to no request, such as a worker's look at the registry each few seconds."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide as `OTEL_TRACES_SAMPLER` says, but for lonely calls."""
        alone = not get_current_span(parent_context).get_span_context().is_valid
        if alone and kind is SpanKind.CLIENT and not name.startswith(_BEGINS_A_RUN):
            return SamplingResult(Decision.DROP)
        return self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return its name."""
        return f"NoLonelyCalls({self._inner.get_description()})"


_current: Traces | None = None


def use(traces: Traces | None) -> None:
    """Record traces of this process with these, or not at all."""
    global _current
    _current = traces
    telemetry.use(traces)


def current() -> Traces:
    """Return this process's traces, where `telemetry.records()` is true."""
    assert _current is not None
    return _current


class _Recording:
    """A span that is being recorded."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fails(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


class Traces:
    """The traces of this process.

    Args:
        service: The process's name in them.
        exporter: Where they go.
    """

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.namespace": "retinue"} | _named(service)), shutdown_on_exit=False
        )
        self._provider.sampler = _NoLonelyCalls(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(KnownAttributes(exporter)))
        self.tracer = self._provider.get_tracer("retinue")

    @classmethod
    def to_collector(cls, service: str) -> Traces:
        """Return traces that go where the standard variables say."""
        return cls(service, OTLPSpanExporter())

    def samples(self, trace_id: int, name: str) -> bool:
        """Whether a trace with this id is recorded, if it begins with a span of this name."""
        decision = self._provider.sampler.should_sample(Context(), trace_id, name).decision
        return decision is Decision.RECORD_AND_SAMPLE

    @contextmanager
    def span(self, name: str, *, outgoing: bool, attributes: Mapping[str, Value]) -> Iterator[_Recording]:
        """Record the block; see `retinue.runtime.telemetry.span`."""
        with self._spanned(name, SpanKind.CLIENT if outgoing else SpanKind.INTERNAL, attributes) as recording:
            yield recording

    @contextmanager
    def request(self, name: str, **attributes: Value) -> Iterator[_Recording]:
        """Record the block as the root of a new trace: a request that came from outside."""
        with self._spanned(name, SpanKind.SERVER, attributes, Context()) as recording:
            yield recording

    @contextmanager
    def _spanned(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Value], context: Context | None = None
    ) -> Iterator[_Recording]:
        with self.tracer.start_as_current_span(
            name,
            context,
            kind,
            _dotted(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            recording = _Recording(span)
            try:
                yield recording
            except Exception as error:
                recording.fails(type(error).__name__)
                raise

    def ids(self) -> dict[str, str]:
        """Return the ids of the current span as hexadecimal numbers; empty without one."""
        current = get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {"trace_id": f"{current.trace_id:032x}", "span_id": f"{current.span_id:016x}"}

    def flush(self) -> None:
        """Send what waits."""
        self._provider.force_flush()

    def shutdown(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


def _dotted(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _named(service: str) -> dict[str, str]:
    """Return the attribute with the service's name, unless `OTEL_SERVICE_NAME` gives one."""
    return {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
