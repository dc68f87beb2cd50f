"""The tools of memory as a worker runs them: real activities on a real database file."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.memory.settings import MemorySettings
from activities.memory.worker import plugin
from retinue.provenance.asked_by import AskedBy, How
from retinue.temporal.person_header import asking
from retinue.testing import activities_by_name

Call = Callable[..., Awaitable[dict[str, Any]]]
ANA = AskedBy(person="ana", how=How.TYPED, message=1)
BEN = AskedBy(person="ben", how=How.TYPED, message=1)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the store."""
    return tmp_path / "memory.db"


@pytest.fixture
def memory_url(database: Path) -> str:
    """Where the store is."""
    return f"sqlite+aiosqlite:///{database}"


@pytest.fixture
async def call(memory_url: str) -> AsyncIterator[Call]:
    """Runs a tool by name, for Ana unless said otherwise; calls with the same `step` are attempts of one step."""
    served = plugin(MemorySettings(database_url=memory_url))
    by_name = activities_by_name(served.activities)
    assert served.run_context is not None

    async def run(
        tool: str, *, step: str | None = None, asked_by: AskedBy | None = ANA, **arguments: Any
    ) -> dict[str, Any]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=step or uuid4().hex, activity_type=tool
        )
        with asking(asked_by):
            found: dict[str, Any] = await environment.run(by_name[tool], arguments)
        return found

    async with served.run_context():
        yield run
