"""A process that is told to stop ends in time, with code 0, whatever it waits for."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retinue.settings import ROOT
from tests.local_stack import wait_until
from workers import runner
from workers.temporal_server import free_port

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes of the product that know no Temporal server; what still runs is killed afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*command: str, **variables: str) -> subprocess.Popen[bytes]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("RETINUE_", "TEMPORAL_"))}
        environment = outside | {"PYTHONPATH": str(ROOT), "RETINUE_DATA_DIR": str(tmp_path)} | variables
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-P", "-m", *command], env=environment, cwd=ROOT, stderr=log)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_worker_whose_server_never_answers_stops_at_once(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = start("workers", "weather", TEMPORAL_ADDRESS=f"127.0.0.1:{silent.getsockname()[1]}")
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=60) == 0
    assert (tmp_path / "log").read_bytes() == b""  # the connection was neither refused nor timed out meanwhile


@pytest.mark.parametrize("room", ["api", "offline"])
def test_a_clean_stop_of_a_server_is_no_failure(start: Start, room: str) -> None:
    port = free_port()
    command = ["api"] if room == "api" else ["offline", "--port", str(port)]
    server = start(*command, RETINUE_PORT=str(port), TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    wait_until(lambda: _listens(port), what=f"{room} to listen")
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("error", "traces"),
    [
        (
            RuntimeError(
                "Worker validation failed: Namespace default was not found or otherwise could not be described"
            ),
            0,
        ),
        (RuntimeError("a fault of our own"), 1),
    ],
)
def test_a_server_that_goes_away_while_a_worker_starts_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: RuntimeError, traces: int
) -> None:
    async def failing(*_: object) -> None:
        raise error

    def leaving(code: int) -> None:
        assert code == 1

    monkeypatch.setattr(runner, "run", failing)
    monkeypatch.setattr(runner, "leave", leaving)
    monkeypatch.setattr(runner, "configure", lambda *_: None)
    with caplog.at_level(logging.ERROR):
        runner.main("weather")
    assert str(error) in caplog.text
    assert len(re.findall("Traceback", caplog.text)) == traces
