"""A test that hangs, wherever it does, ends its process and not the run."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from temporalio.worker import Worker

from retinue.settings import ROOT
from tests import again, conftest
from tests.local_stack import wait_until

HANGS = """
import signal, subprocess, sys, threading
from pathlib import Path
import pytest

def hang():
    Path("hangs").touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Event().wait()

@pytest.fixture
def hanging_teardown():
    yield
    hang()

@pytest.fixture(scope="module")
def hanging_module():
    yield
    hang()

@pytest.fixture(scope="session")
def hanging_session():
    yield
    hang()

@pytest.mark.timeout(1)
def test_call():
    hang()

@pytest.mark.timeout(1)
def test_teardown(hanging_teardown):
    pass

@pytest.mark.timeout(1)
def test_module(hanging_module):
    pass

@pytest.mark.timeout(1)
def test_session(hanging_session):
    pass

@pytest.mark.timeout(1)
def test_failing(hanging_teardown):
    assert False

@pytest.mark.timeout(1)
def test_leaves_a_process(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path("child").write_text(str(child.pid))
    hang()

@pytest.mark.parametrize("number", range(20))
@pytest.mark.xdist_group("together")
def test_together(number):
    if number == 3:
        hang()

@pytest.mark.parametrize("number", range(20))
def test_passes(number):
    pass
"""
OPTIONS = ["-p", "tests.guard", "-c", "pytest.ini", "-p", "no:schemathesis", "-q", "-rA"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite of its own, which hangs in all places."""
    (tmp_path / "test_hanging.py").write_text(HANGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 3\ntimeout_margin = 1\n")
    return tmp_path


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run of that suite."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *OPTIONS, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ran(folder: Path, *arguments: str) -> str:
    """What it printed."""
    with started(folder, *arguments) as run:
        try:
            printed, _ = run.communicate(timeout=50)
        finally:
            run.kill()
    return printed


def crashed(printed: str) -> set[str]:
    """The tests that took their process with them, without parameters and groups."""
    return set(re.findall(r"^worker '\w+' crashed while running 'test_hanging.py::(\w+)", printed, re.MULTILINE))


@pytest.mark.parametrize("place", ["call", "teardown", "module", "session", "failing"])
def test_one_process_ends(folder: Path, place: str) -> None:
    printed = ran(folder, "-k", f"test_{place}")
    assert "Timeout (0:00:0" in printed
    assert "in hang" in printed


def test_a_run_in_several_processes_goes_on(folder: Path) -> None:
    options = ["-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    printed = ran(folder, *options, "-k", "not session and not module")
    assert crashed(printed) == {"test_call", "test_teardown", "test_failing", "test_leaves_a_process", "test_together"}
    assert "6 failed, 40 passed" in printed, "the one with a failure of its own counts twice, a hanging teardown too"
    left = int((folder / "child").read_text())
    wait_until(lambda: not psutil.pid_exists(left), what="the end of the process that was left behind")


def test_a_session_that_does_not_end(folder: Path) -> None:
    printed = ran(folder, "-n", "2", "--dist", "loadgroup", "-k", "session or module or passes")
    assert crashed(printed), "the last test of the process counts as the one that hangs"
    assert "22 passed" in printed
    assert 0 < len(again.wanted(folder)) <= again.MOST


def test_a_run_that_is_cut_short(folder: Path) -> None:
    (folder / "test_hanging.py").write_text(HANGS.replace("timeout(1)", "timeout(600)"))
    with started(folder, "-n", "2", "--dist", "loadgroup", "-k", "call or passes") as run:
        wait_until((folder / "hangs").exists, what="the test that hangs")
        run.terminate()
        printed, _ = run.communicate(timeout=40)
    assert re.search(r"cut short: \d+ tests never finished; these were running =+\ntest_hanging.py::test_call", printed)
    assert "test_hanging.py::test_call" in again.wanted(folder)


async def test_a_worker_that_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_worker: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(conftest, "_shut_down", never)
    monkeypatch.setattr(conftest, "_STOPS_WITHIN", 0.01)
    with pytest.raises(AssertionError, match="the worker of the queue stuck did not stop within"):
        await Worker.shutdown(Mock(task_queue="stuck"))
