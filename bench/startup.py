"""What `make up` costs: seconds until the front door is ready, and the memory of all its processes at rest."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import httpx

from bench.processes import HOST, Processes, StartFailed, memory_bytes, module_command, processes, stop_all
from workers import temporal_server

_READY_WAIT = 90.0
_REST = 3.0
"""Seconds after the request until memory is read."""


@dataclass(frozen=True)
class Startup:
    """All starts of one measurement."""

    ready_seconds: list[float]
    memory_bytes: list[int]


def startup(*, times: int) -> Startup:
    """Start the whole local stack on an empty data folder some times, with the environment already in place."""
    found = [_one_start() for _ in range(times)]
    return Startup([ready for ready, _ in found], [memory for _, memory in found])


def _one_start() -> tuple[float, int]:
    with processes() as started:
        port, temporal_port, ui_port = (temporal_server.free_port() for _ in range(3))
        variables = {
            "RETINUE_DATA_DIR": str(started.folder / "data"),
            "RETINUE_HOST": HOST,
            "RETINUE_PORT": str(port),
            "RETINUE_TEMPORAL_PORT": str(temporal_port),
            "RETINUE_TEMPORAL_UI_PORT": str(ui_port),
        }
        began = time.perf_counter()
        up = started.start("up", module_command("workers", "up"), name="up", variables=variables)
        _until_ready(started, f"http://{HOST}:{port}")
        ready = time.perf_counter() - began
        _one_request(f"http://{HOST}:{port}")
        time.sleep(_REST)
        memory = memory_bytes(up.pid)
        stop_all([up])
        return ready, memory


def _until_ready(started: Processes, url: str) -> None:
    deadline = time.monotonic() + _READY_WAIT
    while not _is_200(f"{url}/readyz"):
        started.check()
        if time.monotonic() > deadline:
            raise StartFailed(f"the stack did not get ready\n{started.end_of_logs()}")
        time.sleep(0.02)


def _is_200(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _one_request(url: str) -> None:
    body = {"message": "What is on my calendar tomorrow?", "wait_seconds": 30}
    view = httpx.post(f"{url}/v1/assistants", json=body, timeout=60).raise_for_status().json()
    if view["status"] != "completed":
        raise StartFailed(f"the first request ended so: {view}")
