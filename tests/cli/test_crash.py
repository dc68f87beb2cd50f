"""What `retinue crash` rests on: finding one worker of one stack, and seeing that it died. The whole is run by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.crash import Report, check_report, worker_pid
from cli.exits import CommandError
from cli.private_stack import PrivateStack

GOOD = Report("a-1", "completed", workflow_worker_killed=True, mail_worker_deaths=1, attempts=2, mails=1, effects=1)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by their log in /proc")
def test_a_worker_is_found_by_the_log_that_it_writes(tmp_path: Path) -> None:
    log = tmp_path / "email.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["sleep", "60"], stdout=output)
    try:
        assert worker_pid(log) == process.pid
        assert worker_pid(tmp_path / "other.log") is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("log", "deaths"),
    [
        ("", 0),
        ("email ended (exit code 0); starting it again in 0.5 s", 0),
        ("email ended (exit code -9); starting it again in 0.5 s\nworkflows ended (exit code -9)", 1),
    ],
)
def test_only_a_kill_counts_as_a_death(tmp_path: Path, log: str, deaths: int) -> None:
    (tmp_path / "up.log").write_text(log)
    process: subprocess.Popen[bytes] = subprocess.Popen(["true"])
    process.wait()
    stack = PrivateStack("http://127.0.0.1:1", tmp_path, tmp_path / "up.log", process, dict(os.environ))
    assert stack.deaths("email") == deaths


def test_a_run_that_was_done_once_over_a_death_is_a_success() -> None:
    check_report(GOOD)


@pytest.mark.parametrize(
    "seen", [{"status": "failed"}, {"mail_worker_deaths": 0}, {"attempts": 1}], ids=["failed", "no death", "one try"]
)
def test_without_a_death_in_the_middle_nothing_is_shown(seen: dict[str, object]) -> None:
    with pytest.raises(CommandError):
        check_report(Report(**{**vars(GOOD), **seen}))
