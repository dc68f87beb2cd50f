"""A whole stack of its own, as `make up` starts it: real processes, the offline model, ports and data of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from retinue.settings import ROOT
from workers import temporal_server

ZONE = "Europe/Lisbon"
_OUTSIDE = (
    "TEMPORAL_",
    "ACCOUNTS_",
    "OPENAI_",
    "RETINUE_",
    "WEATHER_",
    "PYTEST_",
    "CALENDAR_",
    "CONTACTS_",
    "EMAIL_",
    "TASKS_",
)


@dataclass
class LocalStack:
    """One `python -m workers up` and how to talk to it."""

    data: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    arguments: tuple[str, ...] = ()

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.environment['RETINUE_PORT']}", timeout=60)

    def start(self) -> None:
        with (self.data / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workers", "up", *self.arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(self._is_ready, what=lambda: f"readiness: {self.log()}")
        except BaseException:  # a test that fails here has nobody who stops it later
            self.stop()
            raise

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """Ctrl-C, as a terminal sends it: to the whole process group."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(40)

    def log(self) -> str:
        return (self.data / "up.log").read_text()

    def processes(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`bin/retinue ...`"""
        return subprocess.run(
            [ROOT / "bin" / "retinue", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ask(self, message: str) -> dict[str, Any]:
        body = {"message": message, "timezone": ZONE, "wait_seconds": 30}
        view: dict[str, Any] = self.http.post("/v1/assistants", json=body).json()
        return view

    def approve_by_api(self, view: dict[str, Any]) -> dict[str, Any]:
        [approval] = [approval for approval in view["approvals"] if approval["status"] == "pending"]
        body = {"decision": "approve", "args_hash": approval["args_hash"], "wait_seconds": 30}
        after: dict[str, Any] = self.http.post(
            f"/v1/assistants/{view['id']}/approvals/{approval['id']}", json=body
        ).json()
        return after

    def count(self, capability: str, query: str) -> int:
        with sqlite3.connect(f"file:{self.data}/{capability}.db?mode=ro", uri=True) as database:
            return int(database.execute(query).fetchone()[0])


def wait_until(condition: Callable[[], bool], *, what: str | Callable[[], str], seconds: float = 60) -> None:
    """Fail after `seconds` with `what` did not come about; a callable says it then, such as from a log."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.1)


def environment(data: Path, **more: str) -> dict[str, str]:
    """Variables of a stack that meets no other one."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(_OUTSIDE)}
    return outside | {
        "PYTHONPATH": str(ROOT),
        "RETINUE_DATA_DIR": str(data),
        "RETINUE_PORT": str(temporal_server.free_port()),
        "RETINUE_TEMPORAL_PORT": str(temporal_server.free_port()),
        "RETINUE_TEMPORAL_UI_PORT": str(temporal_server.free_port()),
        "RETINUE_MODEL_SERVERS": "off",
        "WEATHER_PROVIDER": "simulated",
        **more,
    }
