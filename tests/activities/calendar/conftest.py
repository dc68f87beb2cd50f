"""The calendar's tools as a worker runs them: real activities on a real database file."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from activities.calendar.settings import CalendarSettings
from activities.calendar.worker import plugin

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file in which the calendar is kept."""
    return tmp_path / "calendar.db"


@pytest.fixture
def settings(database: Path) -> CalendarSettings:
    """Settings of a calendar of its own, whose unzoned times belong to Berlin."""
    return CalendarSettings(database_url=f"sqlite+aiosqlite:///{database}", timezone="Europe/Berlin")


@pytest.fixture
async def call(settings: CalendarSettings) -> AsyncIterator[Call]:
    """Runs a tool by name; calls with the same `step` are attempts of one step."""
    served = plugin(settings)
    assert isinstance(served.activities, Sequence)
    assert served.run_context is not None
    activities = {activity._Definition.must_from_callable(run).name: run for run in served.activities}

    async def run(tool: str, *, step: str | None = None, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=step or uuid4().hex, activity_type=tool
        )
        return await environment.run(activities[tool], arguments)

    async with served.run_context():
        yield run


@pytest.fixture
def count_events(database: Path) -> Callable[[], int]:
    """How many events the file holds."""

    def count() -> int:
        with closing(connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])

    return count
