"""The to-do list's tools as a worker runs them: real activities on a real database file, and a Temporal that notes."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import connect
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.tasks.contract import Reminder
from activities.tasks.models import TasksBase
from activities.tasks.tools import TasksTools
from retinue.activity_adapter import build_activities
from retinue.store import Store
from retinue.testing import activities_by_name

Call = Callable[..., Awaitable[dict[str, Any]]]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Timers:
    """Stands where Temporal's client does: keeps what was started and cancelled, and can be away."""

    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    away: bool = False

    async def start_workflow(self, workflow: str, reminder: Reminder, **options: Any) -> None:
        self._answer()
        if options["id"] in self.started:
            raise WorkflowAlreadyStartedError(options["id"], workflow)
        self.started[options["id"]] = {"type": workflow, "reminder": reminder, **options}

    def get_workflow_handle(self, workflow_id: str) -> Timer:
        return Timer(self, workflow_id)

    def _answer(self) -> None:
        if self.away:
            raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


@dataclass
class Timer:
    """One workflow, as its handle shows it."""

    timers: Timers
    workflow_id: str

    async def cancel(self, **_: Any) -> None:
        self.timers._answer()
        if self.workflow_id not in self.timers.started:
            raise RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")
        self.timers.cancelled.append(self.workflow_id)


@dataclass
class Clock:
    """The present, as the tools see it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **length: float) -> None:
        self.now += timedelta(**length)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file in which the list is kept."""
    return tmp_path / "tasks.db"


@pytest.fixture
def list_url(database: Path) -> str:
    """The address of that file; tests/databases puts PostgreSQL's in its place."""
    return f"sqlite+aiosqlite:///{database}"


@pytest.fixture
async def call(list_url: str, timers: Timers, clock: Clock) -> AsyncIterator[Call]:
    """Runs a tool by name; calls with the same `step` are attempts of one step."""
    store = Store(list_url, TasksBase.metadata, owner="tasks")
    by_name = activities_by_name(build_activities(TasksTools(store, clock=clock)))

    async def run(tool: str, *, step: str | None = None, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment(client=cast(Client, timers))
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=step or uuid4().hex, activity_type=f"tasks.{tool}"
        )
        return await environment.run(by_name[f"tasks.{tool}"], arguments)

    await store.open()
    yield run
    await store.close()


@pytest.fixture
def count(database: Path) -> Callable[[], int]:
    """How many rows the list has, cancelled reminders included."""

    def rows() -> int:
        with closing(connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])

    return rows
