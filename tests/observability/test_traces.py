"""Traces of a real stack: `make up`'s processes, a request with an approval to a mail, an own collector."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.activities.weather.conftest import daily, place
from tests.local_stack import LocalStack, environment, wait_until
from tests.observability.runs import carried_out
from tests.observability.sink import Seen, Sink, collector, parents
from tests.observability.trace_picture import draw

pytestmark = [pytest.mark.xdist_group("observability"), pytest.mark.timeout(240)]
REQUEST = "What's the weather in Lisbon tomorrow, and email the forecast to team@example.com"
STARTED = ["StartWorkflow:AssistantWorkflow", "POST /v1/assistants"]
CANARY = f"Canary{uuid.uuid4().hex[:10]}"


class Observed:
    """A stack whose processes send traces, and what came of two requests."""

    def __init__(self, stack: LocalStack, sink: Sink) -> None:
        self.stack = stack
        self.sink = sink
        self.view = carried_out(stack, stack.ask(REQUEST))
        self.personal = self._personal()
        stack.http.post("/v1/assistants", json={"message": CANARY, "timezone": CANARY})
        run = self.view["id"]
        wait_until(lambda: any(s.name.startswith("CompleteWorkflow") and run in str(s) for s in sink.spans), what="run")
        wait_until(lambda: any(s.name.startswith("POST /v1/assistants") for s in sink.spans), what="request")
        self.metrics = stack.http.get("/metrics").text

    def _personal(self) -> dict[str, Any]:
        """A request whose text, address and mail body are canaries."""
        body = {
            "message": f"Email {CANARY}@example.com saying {CANARY}",
            "timezone": "Europe/Lisbon",
            "wait_seconds": 30,
        }
        self.stack.http.get(f"/v1/assistants/{CANARY}?q={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
        view = self.stack.http.post("/v1/assistants", json=body, headers={"Idempotency-Key": CANARY}).json()
        return carried_out(self.stack, view)

    def trace(self) -> list[Seen]:
        """The trace of the first request: that of its run."""
        [start] = [
            span
            for span in self.sink.spans
            if span.name == "StartWorkflow:AssistantWorkflow" and self.view["id"] in str(span)
        ]
        return self.sink.of_trace(start.trace)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with observing(tmp_path_factory.mktemp("observed")) as seen:
        yield seen


@contextmanager
def observing(data: Path) -> Iterator[Observed]:
    """Run a stack whose traces go to a collector of its own."""
    with collector() as sink, weather_service() as weather:
        more = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret-of-the-collector",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "RETINUE_LOG_FORMAT": "json",
            "WEATHER_PROVIDER": "open-meteo",
            "WEATHER_URL": f"{weather}/forecast",
            "WEATHER_GEOCODING_URL": f"{weather}/search",
        }
        stack = LocalStack(data, environment(data, **more))
        stack.start()
        try:
            yield Observed(stack, sink)
        finally:
            stack.stop()


class _Weather(BaseHTTPRequestHandler):
    """Answers as Open-Meteo does: one town, and the days that are asked for."""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        days = {"results": [place("Lisbon", "Portugal")]} if "name" in asked else daily(*asked["start_date"])
        body = json.dumps(days).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *args: object) -> None:
        """Say nothing."""


class weather_service:  # noqa: N801  # used as a function
    def __enter__(self) -> str:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Weather)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize(
    ("name", "above"),
    [
        ("POST /v1/assistants", []),
        ("StartWorkflow:AssistantWorkflow", ["POST /v1/assistants"]),
        ("RunWorkflow:AssistantWorkflow", ["StartWorkflow:AssistantWorkflow", "POST /v1/assistants"]),
        ("chat offline", ["RunActivity:reasoning.plan", "StartActivity:reasoning.plan", *STARTED]),
        ("HTTP GET", ["RunActivity:weather.forecast", "StartActivity:weather.forecast", *STARTED]),
        ("HandleUpdate:decide", STARTED),
        ("effect", ["RunActivity:email.send", "StartActivity:email.send", *STARTED]),
        ("CompleteWorkflow:AssistantWorkflow", STARTED),
    ],
)
def test_a_request_is_one_trace_down_to_its_effect(observed: Observed, name: str, above: list[str]) -> None:
    """HTTP, start, workflow, activity, model call, provider call, effect: each under the one that made it."""
    spans = observed.trace()
    assert [name, *above] in [parents(spans, span) for span in spans if span.name == name]


def test_the_trace_can_be_drawn(observed: Observed) -> None:
    """`docs/images/trace.svg` is made so."""
    picture = draw(observed.trace(), "a < b")
    assert picture.count("<rect x=") == len(observed.trace())
    assert picture.index("StartActivity:email.send") < picture.index(">effect<")
    assert "a &lt; b" in picture


def test_each_process_names_itself(observed: Observed) -> None:
    services = {span.service for span in observed.trace()}
    wanted = {f"retinue-{name}" for name in ("api", "workflows", "reasoning", "weather", "email")}
    assert wanted <= services <= wanted | {"retinue-memory"}  # on a busy machine planning asks memory itself


def test_a_decision_is_a_trace_of_its_own(observed: Observed) -> None:
    [decision] = [
        span
        for span in observed.sink.spans
        if span.name == "StartWorkflowUpdate:decide" and observed.view["id"] in str(span)
    ]
    assert decision.trace != observed.trace()[0].trace
    root = parents(observed.sink.of_trace(decision.trace), decision)[-1]
    assert root == "POST /v1/assistants/{assistant_id}/approvals/{approval_id}"


def test_what_lasts_belongs_to_no_request(observed: Observed) -> None:
    """The workflow of a person is started by a request, and serves it and all later ones."""
    names = {span.name for span in observed.sink.spans}
    assert "StartUpdateWithStartWorkflow:PersonWorkflow" in names
    assert not {name for name in names if name.startswith("HandleUpdate:record_approval")}


def test_looks_of_workers_at_the_registry_are_no_traces(observed: Observed) -> None:
    lonely = {span.name for span in observed.sink.spans if not span.parent}
    assert {name for name in lonely if not name.startswith(("GET /", "POST /"))} == set()


def test_the_collector_gets_the_header_of_the_variable(observed: Observed) -> None:
    assert {headers.get("x-key") or headers.get("X-Key") for headers in observed.sink.headers} == {
        "secret-of-the-collector"
    }


def test_metrics_come_over_otlp_too(observed: Observed) -> None:
    wanted = {"retinue_runs_ended", "retinue_model_tokens", "retinue_effects"}
    wanted |= {"temporal_activity_schedule_to_start_latency", "retinue_decision_wait"}
    wait_until(lambda: wanted <= observed.sink.metrics, what="the metrics")


def test_no_word_of_a_person_is_in_spans_metrics_or_logs(observed: Observed) -> None:
    """Canaries: in the request, the mail's body and address, a path, a query, a token, an idempotency key, a bad zone."""
    sent = b"".join(observed.sink.raw)
    assert len(observed.sink.raw) > 10
    assert CANARY in str(observed.personal)
    logs = "".join(file.read_text() for file in (observed.stack.data / "logs").glob("[!t]*.log"))
    for kept in (sent.decode(errors="replace"), logs, observed.metrics):
        assert CANARY.lower() not in kept.lower()
        assert "team@example.com" not in kept


def test_log_lines_are_json_objects(observed: Observed) -> None:
    lines = (observed.stack.data / "logs" / "email.log").read_text().splitlines()
    assert {"time", "level", "logger", "message"} <= json.loads(lines[0]).keys()
