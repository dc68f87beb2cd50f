"""`up --with radicale` as a person has it: a real calendar server beside the stack, used, killed, stopped and found again."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from retinue.settings import ROOT, RetinueSettings
from tests.local_stack import LocalStack, environment, wait_until
from workers import temporal_server
from workers.companions import StartFailed, companion

pytestmark = [pytest.mark.xdist_group("local_stack"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data = tmp_path_factory.mktemp("with_radicale")
    variables = {"RETINUE_RADICALE_PORT": str(temporal_server.free_port()), "TASKS_NOTIFY": "mail"}
    stack = LocalStack(data, environment(data) | variables, arguments=("--with", "radicale"))
    stack.start()
    yield stack
    stack.stop()


def _done(local: LocalStack, message: str) -> dict[str, Any]:
    view = local.ask(message)
    assert view["status"] == "completed", view
    return view


def _cards(local: LocalStack) -> list[str]:
    folder = local.data / "radicale/collections/collection-root/retinue/contacts"
    return sorted(line for file in folder.glob("*.vcf") for line in file.read_text().splitlines() if "FN:" in line)


def _radicale(local: LocalStack) -> psutil.Process:
    [process] = [
        child for child in local.processes() if Path(f"/proc/{child.pid}/fd/2").resolve().name == "radicale.log"
    ]
    return process


def test_the_table_says_where_it_is_and_the_password_is_for_its_owner_alone(local: LocalStack) -> None:
    users = local.data / "radicale" / "users"
    password = users.read_text().strip().partition(":")[2]

    assert f"http://127.0.0.1:{local.environment['RETINUE_RADICALE_PORT']}" in local.log()
    assert "calendar and contacts; user retinue, password in" in local.log()
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert len(password) >= 32
    assert not any(password in log.read_text() for log in [local.data / "up.log", *local.data.glob("logs/*.log")])


def test_what_the_assistant_writes_stands_on_the_server_once(local: LocalStack) -> None:
    _done(local, "Add Ana Silva, ana@example.com, to my contacts")
    _done(local, "Schedule lunch with Ana tomorrow at 1pm")

    calendar = local.data / "radicale/collections/collection-root/retinue/calendar"
    [event] = [file.read_text() for file in calendar.glob("*.ics")]
    assert "SUMMARY:Lunch with Ana" in event
    assert _cards(local) == ["FN:Ana Silva"]
    assert local.count("contacts", "SELECT count(*) FROM contact") == 0


def test_two_people_of_one_name_are_asked_about_and_the_answer_goes_on(local: LocalStack) -> None:
    """Through HTTP, with the offline model."""
    _done(local, "Add Ana Gomez, gomez@example.com, to my contacts")

    view = local.ask("Write a mail to Ana saying hello")
    assert view["status"] == "awaiting_input", json.dumps(view)
    assert all(text in view["question"] for text in ("Ana Silva", "ana@example.com", "Ana Gomez", "gomez@example.com"))
    answered = local.http.post(
        f"/v1/assistants/{view['id']}/messages", json={"message": "Gomez", "wait_seconds": 30}
    ).json()
    assert answered["status"] == "awaiting_approval", answered
    done = local.approve_by_api(answered)

    assert done["status"] == "completed"
    assert "gomez@example.com" in done["reply"]
    assert local.count("email", "SELECT count(*) FROM messages WHERE recipients LIKE '%gomez@example.com%'") == 1
    assert local.count("email", "SELECT count(*) FROM messages WHERE recipients LIKE '%ana@example.com%'") == 0


def test_it_is_started_again_when_it_dies(local: LocalStack) -> None:
    before = _radicale(local)
    before.send_signal(signal.SIGKILL)

    assert "Ana Silva" in _done(local, "What is Ana Silva's email address?")["reply"]
    assert _radicale(local).pid != before.pid
    assert "radicale ended" in local.log()


@pytest.mark.long
def test_after_a_restart_everything_is_there_and_a_reminder_still_reaches_the_mailbox(local: LocalStack) -> None:
    """Temporal, workers and Radicale were all gone in between."""
    _done(local, "Add Bo Stone, bo@example.com, to my contacts")
    people = _cards(local)
    planned = _done(local, "Remind me to call mum in 1 minute")
    assert planned["plan"]["steps"][0]["tool"] == "tasks.remind"
    running = local.processes()
    assert local.stop() == 0
    _, alive = psutil.wait_procs(running, timeout=10)
    assert alive == []

    local.start()
    wait_until(
        lambda: local.count("email", "SELECT count(*) FROM messages WHERE subject = 'Reminder: call mum'") > 0,
        what="the mail to myself",
        seconds=90,
    )

    assert local.count("email", "SELECT count(*) FROM messages WHERE subject = 'Reminder: call mum'") == 1
    assert local.count("tasks", "SELECT count(*) FROM task WHERE reminded_at IS NOT NULL") == 1
    assert _cards(local) == people
    assert "bo@example.com" in _done(local, "What is Bo Stone's email address?")["reply"]


def test_other_users_of_this_machine_see_nothing(local: LocalStack) -> None:
    url = f"http://127.0.0.1:{local.environment['RETINUE_RADICALE_PORT']}/retinue/contacts/"

    assert httpx.request("PROPFIND", url).status_code == 401
    assert httpx.request("PROPFIND", url, auth=("retinue", "guess")).status_code == 401


def _refused(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "workers", "up", *arguments],
        cwd=ROOT,
        env=environment(tmp_path) | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_cannot_be_started_beside_is_named(tmp_path: Path) -> None:
    refused = _refused(tmp_path, "--with", "nextcloud")

    assert (refused.returncode, "there are: observability, radicale" in refused.stderr) == (1, True)


def test_a_port_in_use_is_named(tmp_path: Path, local: LocalStack) -> None:
    port = local.environment["RETINUE_RADICALE_PORT"]
    refused = _refused(tmp_path, "--with", "radicale", RETINUE_RADICALE_PORT=port)

    assert (refused.returncode, "set RETINUE_RADICALE_PORT to another one" in refused.stderr) == (1, True)


def test_without_radicale_installed_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(StartFailed, match="needs Radicale in this environment"):
        companion("radicale", host="127.0.0.1", data=tmp_path, settings=RetinueSettings(radicale_port=5232))


def test_the_persons_own_provider_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALENDAR_PROVIDER", "caldav")
    radicale = companion("radicale", host="127.0.0.1", data=tmp_path, settings=RetinueSettings(radicale_port=5232))

    assert radicale.variables("calendar") == {}
    assert radicale.variables("contacts")["CONTACTS_PROVIDER"] == "carddav"
    assert radicale.variables("email") == {}
    assert "CONTACTS_PROVIDER" not in os.environ
