"""The health check against real sockets, for each role of the image."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import healthcheck

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ["python", "-P", "-m"]


class _Answers(http.server.BaseHTTPRequestHandler):
    """200 for /healthz, 404 for the rest."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Refuses(_Answers):
    """503 for everything."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()


def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def well() -> Iterator[int]:
    """The port of a process that is well."""
    yield from _serving(_Answers)


@pytest.fixture
def unwell() -> Iterator[int]:
    """The port of a process that answers, but not well."""
    yield from _serving(_Refuses)


@pytest.fixture
def closed() -> Iterator[int]:
    """A port where nobody listens; bound meanwhile, so that nobody else takes it."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def check(port: int, *command: str, init: tuple[str, ...] = ()) -> str | None:
    """The health of a process whose service, its own or Temporal, is at `port`."""
    environ = {"RETINUE_PORT": str(port), "TEMPORAL_ADDRESS": f"127.0.0.1:{port}"}
    return healthcheck.problem([*init, *PYTHON, *(part.format(port=port) for part in command)], environ)


ROLES = [
    ["api"],
    ["workers", "calendar"],
    ["workers", "workflows"],
    ["offline", "--host", "0.0.0.0", "--port", "{port}"],
]


@pytest.mark.parametrize("command", ROLES)
def test_is_well_when_the_service_answers(well: int, command: list[str]) -> None:
    assert check(well, *command) is None


@pytest.mark.parametrize("command", ROLES)
def test_is_unwell_when_nobody_listens(closed: int, command: list[str]) -> None:
    assert str(closed) in str(check(closed, *command))


@pytest.mark.parametrize("command", [["api"], ["offline", "--port={port}"]])
def test_is_unwell_when_the_answer_is_not_200(unwell: int, command: list[str]) -> None:
    assert check(unwell, *command) == f"port {unwell} answers 503"


def test_a_process_that_hangs_is_unwell_in_time(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT", 0.1)
    assert "does not answer" in str(check(mute, "api"))


def test_a_wrapping_init_is_looked_through(closed: int) -> None:
    assert check(closed, "workers", "calendar", init=("/sbin/docker-init", "--")) is not None


@pytest.mark.parametrize("command", [["python", "-P", "-m", "cli", "doctor"], ["sh"], ["python", "-m"], [""]])
def test_a_command_that_serves_nothing_is_well(command: list[str]) -> None:
    assert healthcheck.problem(command, {}) is None


@pytest.mark.parametrize("address", ["no-such-host.invalid:7233", "no-such-host.invalid", "[::1]:1"])
def test_an_unreachable_address_is_named(address: str) -> None:
    assert address in str(healthcheck.problem([*PYTHON, "workers", "email"], {"TEMPORAL_ADDRESS": address}))


def touched(file: Path, seconds_ago: float) -> dict[str, str]:
    """The environment of a process that touched its file then."""
    file.touch()
    moment = time.time() - seconds_ago
    os.utime(file, (moment, moment))
    return {"RETINUE_LIVENESS_FILE": str(file)}


@pytest.mark.parametrize("liveness", [True, False])
@pytest.mark.parametrize("role", [["api"], ["workers", "workflows"], ["workers", "calendar"]])
def test_a_frozen_process_is_unwell(tmp_path: Path, role: list[str], liveness: bool) -> None:
    environ = touched(tmp_path / "alive", 75)
    assert healthcheck.problem([*PYTHON, *role], environ, liveness=liveness) == "no sign of life for 75 s"


def test_liveness_does_not_ask_whether_temporal_can_be_reached(tmp_path: Path, closed: int) -> None:
    """Else every worker would be restarted whenever Temporal is away."""
    environ = {**touched(tmp_path / "alive", 5), "TEMPORAL_ADDRESS": f"127.0.0.1:{closed}"}
    command = [*PYTHON, "workers", "workflows"]
    assert healthcheck.problem(command, environ, liveness=True) is None
    assert str(closed) in str(healthcheck.problem(command, environ))


def test_a_process_that_never_began_to_work_is_not_alive(tmp_path: Path, well: int) -> None:
    environ = {"RETINUE_LIVENESS_FILE": str(tmp_path / "alive"), "TEMPORAL_ADDRESS": f"127.0.0.1:{well}"}
    command = [*PYTHON, "workers", "workflows"]
    assert "has not begun to work" in str(healthcheck.problem(command, environ, liveness=True))
    assert healthcheck.problem(command, environ) is None


def test_runs_as_the_image_runs_it() -> None:
    """On this machine process 1 is none of ours, hence well: what counts is that the module starts, from anywhere."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deploy.healthcheck"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
