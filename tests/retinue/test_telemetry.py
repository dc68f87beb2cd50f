"""Traces and metrics: what switches them on, what leaves the process, and that off costs nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from retinue.errors import ServiceBusy
from retinue.runtime import logs, otlp, telemetry
from retinue.runtime.otlp import Traces
from retinue.settings import ROOT

VARIABLES = (
    *("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"),
    *("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"),
)
COLLECTOR = "http://127.0.0.1:4318"


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    traces = Traces("test", exporter)
    otlp.use(traces)
    yield exporter
    otlp.use(None)
    traces.shutdown()


def sent(exporter: InMemorySpanExporter) -> str:
    otlp.current().flush()
    return "\n".join(span.to_json() for span in exporter.get_finished_spans())


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": COLLECTOR}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_what_switches_traces_on(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert telemetry.wants_traces() is wanted


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{COLLECTOR}/", "OTEL_EXPORTER_OTLP_HEADERS": "a=b, c=d"},
            telemetry.MetricsExport(url=f"{COLLECTOR}/v1/metrics", headers={"a": "b", "c": "d"}),
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/x"}, telemetry.MetricsExport(url="http://m/x", headers={})),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, telemetry.MetricsExport(address="127.0.0.1:9464")),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0"},
            telemetry.MetricsExport(address="0.0.0.0:9464"),
        ),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, None),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_SDK_DISABLED": "TRUE"}, None),
    ],
)
def test_where_metrics_go(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: telemetry.MetricsExport | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert telemetry.wanted_metrics() == wanted


def test_an_unknown_exporter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    with pytest.raises(ValueError, match="otlp, prometheus and none"):
        telemetry.wanted_metrics()


@pytest.mark.parametrize(
    "module", ["api.app", "workers.runner", "activities.email.worker", "activities.reasoning.worker"]
)
def test_off_imports_nothing_of_opentelemetrys_sdk(module: str) -> None:
    """Other packages import its small API; the SDK, the exporter and Temporal's interceptor cost megabytes."""
    heavy = (
        "('opentelemetry.sdk', 'opentelemetry.exporter', 'temporalio.contrib.opentelemetry', 'retinue.runtime.otlp')"
    )
    program = f"import sys, {module}; print([name for name in sys.modules if name.startswith({heavy})])"
    said = subprocess.run([sys.executable, "-P", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_off_a_span_is_one_shared_object() -> None:
    with telemetry.span("effect", retinue__tool="email.send") as one, telemetry.span("effect") as other:
        one.set(retinue__repeated=True)
        one.fails("Timeout")
    assert one is other
    assert telemetry.trace_ids() == {}


def test_only_known_attributes_in_a_known_form_leave(exported: InMemorySpanExporter) -> None:
    with telemetry.span(
        "effect", retinue__tool="email.send", body="CANARY", temporalWorkflowID="person-CANARY"
    ) as span:
        span.set(retinue__capability="email", peer__service="CANARY\nwith a line", temporalActivityID="CANARY")
    with telemetry.span("chat", temporalWorkflowID="a-0123456789abcdef0123456789abcdef", gen_ai__usage__input_tokens=7):
        pass
    text = sent(exported)
    assert "CANARY" not in text
    for kept in ('"email.send"', '"email"', '"a-0123456789abcdef0123456789abcdef"', '"gen_ai.usage.input_tokens": 7'):
        assert kept in text


def test_an_error_leaves_its_type_and_not_its_text(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ServiceBusy), telemetry.span("HTTP GET"):
        raise ServiceBusy("CANARY", retry_after=1)
    with pytest.raises(ValueError, match="CANARY"), otlp.current().tracer.start_as_current_span("of another library"):
        raise ValueError("CANARY")
    text = sent(exported)
    assert "CANARY" not in text
    assert '"error.type": "ServiceBusy"' in text
    assert '"exception.type": "ValueError"' in text


def test_a_name_of_another_form_is_replaced(exported: InMemorySpanExporter) -> None:
    with telemetry.span("StartActivity:what is\nthis"):
        pass
    text = sent(exported)
    assert "what is" not in text
    assert '"name": "other"' in text


def test_a_call_that_belongs_to_no_request_is_not_recorded(exported: InMemorySpanExporter) -> None:
    with telemetry.span("QueryWorkflow:capabilities", outgoing=True):
        pass
    with telemetry.span("StartWorkflow:AssistantWorkflow", outgoing=True):
        pass
    assert "QueryWorkflow" not in sent(exported)
    assert "StartWorkflow" in sent(exported)


def test_a_json_line_has_the_ids_of_its_trace(exported: InMemorySpanExporter) -> None:
    del exported
    record = logging.LogRecord("retinue.tools", logging.INFO, "f.py", 1, "tool failed: %s", ("x\ny",), None)
    record.tool = "email.send"
    with telemetry.span("effect"):
        line = json.loads(logs._JsonFormatter().format(record))
        ids = telemetry.trace_ids()
    assert len(ids["trace_id"]) == 32
    assert (line["message"], line["tool"], line["level"]) == ("tool failed: x\ny", "email.send", "INFO")
    assert {name: line[name] for name in ids} == ids
