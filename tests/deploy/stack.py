"""The stack of docker-compose.yml on the tests' own engine, and what a person asks of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

import activities
from deploy import lock_parts
from tests.deploy.engine import HERE, ROOT, TOOLS, Engine, until

FILE = ROOT / "docker-compose.yml"
STAND_INS = {
    "postgres:17.10-alpine": "postgres",
    "temporalio/admin-tools:1.32.0": "admin-tools",
    "temporalio/server:1.32.0": "server",
    "temporalio/ui:2.54.1": "ui",
}
OURS = sorted({*lock_parts.ROOMS, *activities.folders()})
"""The services that run an image of this project."""


def build_images(engine: Engine, parts: Sequence[str] = OURS) -> dict[str, float]:
    """Build images of this project; returns how many seconds each took."""
    took: dict[str, float] = {}
    for part in parts:
        began = time.monotonic()
        build_image(engine, part)
        took[part] = time.monotonic() - began
    return took


def build_image(engine: Engine, part: str, *more: str, tag: str = "local") -> str:
    """Build one image as Compose would, and return its name."""
    target = part if part in lock_parts.ROOMS else "capability"
    name = f"retinue-{part}:{tag}"
    engine.build(name, ROOT, "--target", target, "--build-arg", f"PART={part}", *more)
    return name


def make_stand_ins(engine: Engine) -> None:
    """Make what the stack would pull."""
    for name, target in STAND_INS.items():
        arguments = ["--build-arg", f"TOOLS={TOOLS}", "--file", str(HERE / "standins" / "images.Dockerfile")]
        engine.build(name, HERE / "standins", *arguments, "--target", target)


@dataclass
class Stack:
    """A running stack."""

    engine: Engine
    api: httpx.Client

    @classmethod
    @contextmanager
    def started(cls, engine: Engine) -> Iterator[Stack]:
        """Start all services and wait until they are well; remove them and their volumes at the end."""
        try:
            engine.compose("up", "--wait", "--no-build", file=FILE, WEATHER_PROVIDER="simulated")
            with engine.client(8000) as api:
                yield cls(engine, api)
        finally:
            engine.compose("down", "--volumes", "--timeout", "20", file=FILE, check=False)

    def compose(self, *arguments: str) -> str:
        """Run a Compose command on this stack."""
        return self.engine.compose(*arguments, file=FILE, WEATHER_PROVIDER="simulated")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, also of those that have ended."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in the first container of a service."""
        return self.engine.docker("exec", self.containers(service)[0], *command, check=check, timeout=60)

    def mails(self, subject: str) -> int:
        """How many mails with these words in their subject stand in the store of the email capability."""
        look = (
            "import sqlite3; print(sqlite3.connect('file:/data/email.db?mode=ro', uri=True)"
            f".execute('select count(*) from messages where subject like ?', ['%{subject}%']).fetchone()[0])"
        )
        return int(self.execute("email", "python", "-P", "-c", look))

    def ask(self, message: str) -> dict[str, Any]:
        """Start a run and wait until it needs a person or is done."""
        body = {"message": message, "wait_seconds": 0}
        run = self._until_answered("POST", "/v1/assistants", body, {"Idempotency-Key": str(uuid.uuid4())})
        return self.wait(run["id"], "awaiting_approval", "completed", "failed", "needs_input")

    def approve(self, run: dict[str, Any]) -> dict[str, Any]:
        """Approve all that a run asks, and wait for its end."""
        for one in run["approvals"]:
            body = {"decision": "approve", "args_hash": one["args_hash"], "wait_seconds": 0}
            self._until_answered("POST", f"/v1/assistants/{run['id']}/approvals/{one['id']}", body, {})
        return self.wait(run["id"], "completed", "failed")

    def wait(self, run: str, *statuses: str, seconds: float = 240) -> dict[str, Any]:
        """Wait until a run has one of these statuses."""
        end = time.monotonic() + seconds
        while (view := self._until_answered("GET", f"/v1/assistants/{run}", None, {}))["status"] not in statuses:
            assert time.monotonic() < end, view
            time.sleep(0.5)
        return view

    def send_mails(self, mark: str, count: int) -> list[dict[str, Any]]:
        """Ask for several mails at once; returns the runs, which wait for a decision."""
        messages = [f"Email team@example.com that {mark} number {number} is at noon" for number in range(count)]
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(self.ask, messages))

    def _until_answered(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        """Ask until there is an answer: the API itself may be away. 409 means decided before."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            try:
                answers.append(self.api.request(method, path, json=body, headers=headers))
            except httpx.HTTPError:
                return False
            return answers[-1].status_code in (200, 201, 202, 409)

        until(answered)
        view: dict[str, Any] = answers[-1].json()
        return view
