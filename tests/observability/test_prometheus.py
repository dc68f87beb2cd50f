"""Debian's Prometheus over a real stack (`make up WITH=observability`): what dashboards and rules name exists there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from retinue.settings import ROOT, RetinueSettings
from tests.local_stack import LocalStack, environment, wait_until
from tests.observability.runs import carried_out
from workers import temporal_server
from workers.companions import companion

FOLDER = ROOT / "deploy" / "observability"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((FOLDER / "dashboards" / "retinue.json").read_text())["panels"]
EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]
NAME = re.compile(r"\b(?:retinue|temporal)_[a-z_]+\b|\bup\b")
ONLY_AFTER_A_FAILURE = {"temporal_workflow_task_execution_failed"}
"""Of Temporal's SDK."""
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)


def over_a_stack(test: Any) -> Any:
    return pytest.mark.xdist_group("prometheus")(pytest.mark.timeout(240)(needs_prometheus(test)))


REQUEST = "Email team@example.com saying hello"


def names(expression: str) -> set[str]:
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


class Scraped:
    """A stack that Prometheus watches, after one run with an approval."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.url = f"http://127.0.0.1:{stack.environment['RETINUE_PROMETHEUS_PORT']}"
        carried_out(stack, stack.ask(REQUEST))
        self.asked = stack.ask("Email bob@example.com saying hello")
        wait_until(self._has_everything, what=f"metrics: {sorted(self.wanted - self.known())}", seconds=120)

    wanted = set().union(*map(names, EXPRESSIONS)) - ONLY_AFTER_A_FAILURE

    def _has_everything(self) -> bool:
        return self.wanted <= self.known() and self.value('max(retinue_waiting_runs{older_than="0s"})') == 1

    def known(self) -> set[str]:
        try:
            found: list[str] = httpx.get(f"{self.url}/api/v1/label/__name__/values").json()["data"]
        except httpx.HTTPError:
            return set()
        return set(found)

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    data = tmp_path_factory.mktemp("scraped")
    more = {"RETINUE_PROMETHEUS_PORT": str(temporal_server.free_port())}
    stack = LocalStack(data, environment(data, **more), arguments=("--with", "observability"))
    stack.start()
    try:
        yield Scraped(stack)
    finally:
        stack.stop()


@needs_prometheus
@pytest.mark.parametrize("command", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_promtool_accepts_the_rules_and_their_tests(command: list[str]) -> None:
    ran = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_rule_has_a_test_in_which_it_is_silent_and_one_in_which_it_fires() -> None:
    cases = [
        case
        for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in RULES}
    assert len(names) >= 10
    for wanted in (True, False):
        assert {case["alertname"] for case in cases if bool(case["exp_alerts"]) is wanted} == names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_leads_to_its_section_of_the_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@over_a_stack
def test_every_metric_of_rules_and_dashboard_exists(scraped: Scraped) -> None:
    assert scraped.wanted - scraped.known() == set()
    assert len(scraped.wanted) > 15


@over_a_stack
def test_each_expression_is_understood(scraped: Scraped) -> None:
    for expression in EXPRESSIONS:
        scraped.query(expression)


@over_a_stack
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('max(retinue_open_runs{status="awaiting_approval"})', 1),
        ('max(retinue_waiting_runs{older_than="1d"})', 0),
        ("max(retinue_temporal_up)", 1),
        ('max(retinue_queue_workers{queue="email"})', 1),
        ('max(retinue_queue_backlog{queue="email"})', 0),
        ('sum(retinue_runs_ended{status="completed"})', 1),
        ("count(up == 0) or vector(0)", 0),
        ('sum(retinue_effects{capability="email"})', 1),
        ("sum(retinue_ledger_doubts)", 0),
        ("sum(retinue_decision_wait_count)", 1),
    ],
)
def test_the_values_are_those_of_the_stack(scraped: Scraped, expression: str, value: float) -> None:
    """One mail was sent after an approval, and another one waits for its approval. A scrape may be some seconds old."""
    wait_until(lambda: scraped.value(expression) == value, what=lambda: f"{value}: {scraped.value(expression)}")


@over_a_stack
def test_labels_name_nobody(scraped: Scraped) -> None:
    series = httpx.get(f"{scraped.url}/api/v1/series", params={"match[]": '{__name__=~".+"}'}).text
    for word in ("team@example.com", "bob@example.com", scraped.asked["id"], "hello"):
        assert word not in series


@over_a_stack
def test_the_table_of_addresses_names_prometheus(scraped: Scraped) -> None:
    assert f"Prometheus       {scraped.url}" in scraped.stack.log()


def test_without_prometheus_the_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    beside = companion("observability", host="127.0.0.1", data=tmp_path, settings=RetinueSettings())
    assert beside.child(tmp_path) is None
    assert beside.row()[1] == "not installed"
    assert beside.variables("email")["OTEL_METRICS_EXPORTER"] == "prometheus"
    [target] = json.loads((tmp_path / "prometheus" / "workers.json").read_text())
    assert target["labels"] == {"process": "email"}


def test_the_persons_own_exporter_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    beside = companion("observability", host="127.0.0.1", data=tmp_path, settings=RetinueSettings())
    beside.child(tmp_path)
    assert beside.variables("email") == {}
