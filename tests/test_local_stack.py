"""`make up` as a person has it: real processes, the offline model, the command line, and the same again after a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import activities
from retinue.settings import ROOT
from tests.local_stack import LocalStack, environment, wait_until
from workers import temporal_server
from workers.code_version import code_version

pytestmark = [pytest.mark.xdist_group("local_stack"), pytest.mark.timeout(180)]
SEND = "Email team@example.com saying hello"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data = tmp_path_factory.mktemp("local")
    stack = LocalStack(data, environment(data))
    stack.start()
    yield stack
    stack.stop()


REQUESTS = [
    ("Add Ana Silva, ana@example.com, to my contacts", ["contacts.add"], 0),
    ("What is Ana's email address?", ["contacts.find"], 0),
    ("Schedule lunch with Ana tomorrow at 1pm", ["calendar.create_event"], 0),
    ("What is on my calendar tomorrow?", ["calendar.list_events"], 0),
    ("Find a free hour tomorrow afternoon", ["calendar.find_free_time"], 0),
    ("Move the lunch with Ana to tomorrow at 3pm", ["calendar.list_events", "calendar.update_event"], 0),
    ("Email Ana that I am late", ["contacts.find", "email.send"], 1),
    ("Draft an email to bob@example.com saying hello", ["email.draft"], 0),
    (
        "What's the weather in Lisbon tomorrow, and email the forecast to team@example.com",
        ["weather.forecast", "reasoning.compose", "email.send"],
        1,
    ),
    ("I live in Lisbon", ["memory.remember"], 0),
    ("What's the weather tomorrow?", ["weather.forecast"], 0),
    ("What do you remember about me?", ["memory.list"], 0),
    ("Forget where I live", ["memory.forget_all"], 1),
    ("Any unread mail?", ["email.search"], 0),
    ("Read the newest mail", ["email.search", "email.read"], 0),
    ("Archive the newest mail", ["email.search", "email.archive"], 0),
    ("Delete the lunch with Ana tomorrow", ["calendar.list_events", "calendar.delete_event"], 1),
]


def test_a_dozen_requests_are_carried_to_their_end(local: LocalStack) -> None:
    """Through HTTP, the offline model and every capability; each effect stands once in its capability's own database."""
    delivered = local.command("mail", "deliver", str(ROOT / "activities/email/demo/invitation.eml"))
    assert (delivered.returncode, "Delivered" in delivered.stdout) == (0, True)
    for message, tools, approvals in REQUESTS:
        view = local.ask(message)
        for _ in range(approvals):
            assert view["status"] == "awaiting_approval", view
            view = local.approve_by_api(view)
        assert (message, view["status"]) == (message, "completed"), view
        assert [step["tool"] for step in view["plan"]["steps"]] == tools
        assert view["reply"]
    assert local.count("contacts", "SELECT count(*) FROM contact WHERE name = 'Ana Silva'") == 1
    assert local.count("memory", "SELECT count(*) FROM fact") == 0
    assert local.count("calendar", "SELECT count(*) FROM event") == 0
    assert local.count("calendar", "SELECT count(*) FROM ledger") == 3
    assert local.count("email", "SELECT count(*) FROM messages WHERE folder = 'sent'") == 2
    assert local.count("email", "SELECT count(*) FROM messages WHERE folder = 'drafts'") == 1
    assert local.count("email", "SELECT count(*) FROM messages WHERE folder = 'archive'") == 1


def test_nothing_listens_beyond_this_machine(local: LocalStack) -> None:
    """API, Temporal's gRPC, HTTP, metrics and Web UI ports, companions: there is no login, so loopback alone."""
    listening = {
        connection.laddr
        for process in local.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = {int(local.environment[name]) for name in local.environment if name.endswith("_PORT")}
    assert ports <= {address.port for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("message", ["Order a pizza", "Schedule lunch on the 31st of February at 1pm"])
def test_what_it_does_not_understand_it_says(local: LocalStack, message: str) -> None:
    view = local.ask(message)
    assert view["plan"] is None
    assert (view["reply"] or "") + (view["question"] or "") != ""
    assert view["status"] in ("completed", "awaiting_input")


def test_a_question_is_asked_and_its_answer_completes_the_request(local: LocalStack) -> None:
    view = local.ask("Schedule tea with Bob")
    assert view["status"] == "awaiting_input"
    answered = local.http.post(
        f"/v1/assistants/{view['id']}/messages", json={"message": "tomorrow at 4pm", "wait_seconds": 30}
    ).json()
    assert answered["status"] == "completed"
    assert answered["plan"]["steps"][0]["args"]["title"].lower() == "tea with bob"


def by_api(local: LocalStack, view: dict[str, Any]) -> None:
    local.approve_by_api(view)


def by_command(local: LocalStack, view: dict[str, Any]) -> None:
    done = local.command("approve", view["id"], view["approvals"][0]["id"])
    assert done.returncode == 0, done.stderr


def by_signal(local: LocalStack, view: dict[str, Any]) -> None:
    decision = f'{{"approval_id": "{view["approvals"][0]["id"]}"}}'
    address = f"127.0.0.1:{local.environment['RETINUE_TEMPORAL_PORT']}"
    arguments = ["workflow", "signal", "--address", address, "--workflow-id", view["id"]]
    subprocess.run(
        [temporal_server.binary(), *arguments, "--name", "approve", "--input", decision],
        check=True,
        capture_output=True,
        timeout=30,
    )


@pytest.mark.parametrize("approve", [by_api, by_command, by_signal])
def test_the_same_approval_comes_by_api_command_and_signal(
    local: LocalStack, approve: Callable[[LocalStack, dict[str, Any]], None]
) -> None:
    before = local.count("email", "SELECT count(*) FROM messages WHERE folder = 'sent'")
    view = local.ask(SEND)
    assert view["status"] == "awaiting_approval"
    approve(local, view)
    after = local.http.get(f"/v1/assistants/{view['id']}", params={"wait_seconds": 20}).json()
    assert after["status"] == "completed", after
    assert local.count("email", "SELECT count(*) FROM messages WHERE folder = 'sent'") == before + 1


def test_every_worker_is_the_current_version_of_its_deployment(local: LocalStack) -> None:
    command = [str(temporal_server.binary()), "worker", "deployment", "list", "--output", "json"]
    address = f"127.0.0.1:{local.environment['RETINUE_TEMPORAL_PORT']}"
    listed = subprocess.run([*command, "--address", address], capture_output=True, check=True, timeout=30)
    current = {one["name"]: one["routingConfig"]["currentVersionBuildID"] for one in json.loads(listed.stdout)}
    assert current.keys() == {"retinue-workflows", *(f"retinue-{name}" for name in activities.folders())}
    assert current["retinue-workflows"] == code_version(ROOT)
    assert all(current.values())


def test_a_worker_that_dies_is_started_again(local: LocalStack) -> None:
    [pid] = [
        int(poller["pid"])
        for poller in [{"pid": child.pid} for child in local.processes() if _log_of(child) == "weather.log"]
    ]
    os.kill(pid, signal.SIGKILL)
    view = local.ask("What's the weather in Lisbon tomorrow?")
    assert view["status"] == "completed"
    assert "weather ended" in local.log()


def _log_of(process: psutil.Process) -> str:
    """A child of the supervisor is known by the log that it writes."""
    return Path(f"/proc/{process.pid}/fd/2").resolve().name


def test_a_second_stack_on_the_same_data_is_refused(local: LocalStack) -> None:
    second = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "up"],
        cwd=ROOT,
        env=local.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr


def test_a_port_in_use_is_named(local: LocalStack, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "up"],
        cwd=ROOT,
        env=local.environment | {"RETINUE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "set RETINUE_PORT to another one" in refused.stderr


def test_a_stack_without_login_is_not_opened_to_the_network(local: LocalStack, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "up"],
        cwd=ROOT,
        env=local.environment | {"RETINUE_DATA_DIR": str(tmp_path), "RETINUE_HOST": "0.0.0.0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "without login" in refused.stderr


def test_a_restart_finds_everything_where_it_was(local: LocalStack) -> None:
    """A run that waited for approval before Ctrl-C is approved after it, though by another build; nothing runs in between."""
    view = local.ask(SEND)
    assert view["status"] == "awaiting_approval"
    running = local.processes()
    assert local.stop() == 0
    _, alive = psutil.wait_procs(running, timeout=10)
    assert alive == []
    local.environment["RETINUE_BUILD_ID"] = "another"
    local.start()

    def again() -> Any:
        return local.http.get(f"/v1/assistants/{view['id']}").json()

    wait_until(lambda: again()["status"] == "awaiting_approval", what="the run was not taken over")
    assert local.approve_by_api(again())["status"] == "completed"
