"""`bin/retinue ask` and `bin/retinue show` without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from cli.ask import local_timezone
from retinue.settings import ROOT
from tests.cli.conftest import FakeApi, Run, done, step, view, waiting


def test_ask_watches_the_run_and_prints_the_answer(retinue: Run, api: FakeApi) -> None:
    running = view("running", plan={"steps": [step("s1", "email.send", "running", attempts=2)]})
    api.views = [view("planning"), running, done("Ana has your mail.")]

    result = retinue("ask", "say hello", "--timezone", "Europe/Lisbon")

    assert result.exit_code == 0
    assert result.stdout.strip() == "Ana has your mail."
    assert "running, attempt 2" in result.stderr
    assert api.sent == [("start", {"message": "say hello", "timezone": "Europe/Lisbon"})]


def test_without_a_terminal_pending_approvals_are_printed_and_nothing_is_decided(retinue: Run, api: FakeApi) -> None:
    api.views = [waiting()]

    result = retinue("ask", "say hello")

    assert result.exit_code == 3
    assert "Send a mail\nto: ana@example.com\nsubject: Hello\n" in result.stdout
    assert "it reaches other people or systems" in result.stdout
    assert "to ana@example.com: chosen by the model; you did not type it" in result.stdout
    assert f"bin/retinue approve a-1 ap-s1 --args-hash {'a' * 64}" in result.stdout
    assert [what for what, _ in api.sent] == ["start"]


def test_other_branches_go_on_before_the_command_leaves_it_to_the_person(retinue: Run, api: FakeApi) -> None:
    busy = waiting()
    busy["plan"]["steps"].append(step("s2", "weather.forecast", "running"))
    api.views = [busy, busy, done()]

    assert retinue("ask", "say hello").exit_code == 0


def test_a_question_without_a_terminal_says_how_to_answer(retinue: Run, api: FakeApi) -> None:
    api.views = [view("awaiting_input", question="Which Ana?")]

    result = retinue("ask", "write to Ana")

    assert result.exit_code == 3
    assert "Which Ana?" in result.stdout
    assert "bin/retinue answer a-1" in result.stdout


def test_a_failed_run_ends_with_1_and_says_why(retinue: Run, api: FakeApi) -> None:
    api.views = [view("failed", error={"type": "ServiceRefused", "message": "the key is wrong"})]

    result = retinue("ask", "say hello")

    assert result.exit_code == 1
    assert "the key is wrong" in result.stdout


def test_a_start_that_is_sent_again_carries_the_same_key(retinue: Run, api: FakeApi) -> None:
    api.unavailable = 1

    assert retinue("ask", "say hello", "--no-wait").exit_code == 0
    assert len(api.keys) == 2
    assert len(set(api.keys)) == 1


def test_a_lost_connection_while_watching_is_waited_for(retinue: Run, api: FakeApi) -> None:
    first = retinue("ask", "say hello", "--no-wait")
    api.unavailable = 1

    result = retinue("show", first.stdout.strip(), "--follow")

    assert result.exit_code == 0
    assert "reconnecting" in result.stderr


def test_an_api_that_is_not_there_ends_with_4_and_says_what_to_do(retinue: Run) -> None:
    result = retinue("--url", "http://127.0.0.1:1", "ask", "say hello")

    assert result.exit_code == 4
    assert "bin/retinue up" in result.stderr
    assert "Traceback" not in result.output


def test_a_refusal_is_shown_as_its_detail(retinue: Run, api: FakeApi) -> None:
    api.refusal = (422, "some values are invalid: /timezone: no IANA time zone")

    result = retinue("ask", "say hello", "--timezone", "Mars")

    assert result.exit_code == 1
    assert result.stderr == "some values are invalid: /timezone: no IANA time zone\n"


def test_json_is_the_api_s_own(retinue: Run, api: FakeApi) -> None:
    api.views = [waiting()]

    assert json.loads(retinue("ask", "say hello", "--json").stdout) == waiting()
    assert json.loads(retinue("show", "a-1", "--json").stdout) == waiting()


def test_answering_and_cancelling_reach_the_run(retinue: Run, api: FakeApi) -> None:
    assert retinue("answer", "a-1", "Ana Costa").exit_code == 0
    assert retinue("cancel", "a-1").exit_code == 0
    assert api.sent == [("messages", {"message": "Ana Costa"}), ("cancel", {})]


@pytest.mark.parametrize(("variable", "zone"), [("Europe/Lisbon", "Europe/Lisbon"), (":Asia/Tokyo", "Asia/Tokyo")])
def test_the_zone_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, variable: str, zone: str) -> None:
    monkeypatch.setenv("TZ", variable)
    assert local_timezone() == zone


def test_at_a_terminal_the_person_decides_in_place(api: FakeApi, tmp_path: Path) -> None:
    """The table, the card with a hostile preview, the prompt, the decision, the answer: through a real terminal."""
    hostile = waiting(preview="Send a mail\nsubject: \x1b]0;owned\x07[red]free[/red]")
    api.views = [view("planning"), hostile, done(), done("Ana has your mail.")]
    leader, follower = pty.openpty()
    command = [str(ROOT / "bin/retinue"), "--url", api.url, "ask", "say hello"]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=tmp_path)
    os.close(follower)

    before = _read_until(leader, "[l]ater? ")
    os.write(leader, b"a\n")
    after = _read_until(leader, "Ana has your mail.")

    assert process.wait(10) == 0
    os.close(leader)
    assert "\x1b]0;" not in before + after
    assert "[red]free[/red]" in before
    assert api.sent[1] == ("approvals/ap-s1", {"decision": "approve", "args_hash": "a" * 64})


def _read_until(terminal: int, text: str) -> str:
    shown, deadline = "", time.monotonic() + 15
    while text not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096).decode()
    assert text in shown, shown
    return shown
